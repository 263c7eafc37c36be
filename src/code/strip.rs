//! Takes away what does not change a program: docs, lint levels, test code, and the braces and semicolons that rustfmt
//! adds when it breaks a line.
//!
//! Docs are data to some macros (clap's help, schemars' descriptions). So an item keeps its docs, and those of all it
//! contains, when it has a derive or an attribute that is not on the lists below of those known not to read them.

use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::visit_mut::{self, VisitMut};
use syn::{Arm, Attribute, Expr, ForeignItem, ImplItem, Item, Meta, ReturnType, Stmt, Token, TraitItem};

/// Derives that do not read docs.
const SILENT_DERIVES: [&str; 14] = [
    "Clone",
    "Copy",
    "Debug",
    "Default",
    "Deserialize",
    "Eq",
    "Error",
    "Hash",
    "Ord",
    "PartialEq",
    "PartialOrd",
    "Pod",
    "Serialize",
    "Zeroable",
];

/// Attributes of items that do not read docs: the compiler's, and the helpers of silent derives.
const SILENT_ATTRIBUTES: [&str; 22] = [
    "automatically_derived",
    "bench",
    "cfg",
    "cold",
    "deprecated",
    "doc",
    "error",
    "export_name",
    "global_allocator",
    "inline",
    "link",
    "macro_export",
    "macro_use",
    "must_use",
    "no_mangle",
    "non_exhaustive",
    "path",
    "repr",
    "serde",
    "target_feature",
    "test",
    "track_caller",
];

const LINT_LEVELS: [&str; 5] = ["allow", "deny", "expect", "forbid", "warn"];

/// Macros whose arguments are expressions.
const OF_EXPRESSIONS: [&str; 18] = [
    "anyhow",
    "assert",
    "assert_eq",
    "assert_ne",
    "bail",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "ensure",
    "eprint",
    "eprintln",
    "format",
    "panic",
    "print",
    "println",
    "vec",
    "write",
    "writeln",
];

/// Takes docs, lint levels, test code and optional braces and semicolons out of a file.
pub(super) fn strip(file: &mut syn::File) {
    if is_test(&file.attrs) {
        file.items.clear();
        file.attrs.clear();
    }
    file.items.retain(|item| !is_test(of_item(item)));
    Strip { keep_docs: false }.visit_file_mut(file);
}

/// Whether something with these attributes is there for tests only.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        path.is_ident("test")
            || path.is_ident("bench")
            || path.is_ident("cfg") && attribute.parse_args().is_ok_and(|predicate| implies_test(&predicate))
    })
}

/// Whether a `cfg` predicate holds in test builds only.
fn implies_test(predicate: &Meta) -> bool {
    let nested = |list: &syn::MetaList| {
        let parser = Punctuated::<Meta, Token![,]>::parse_terminated;
        list.parse_args_with(parser).unwrap_or_default()
    };
    match predicate {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => nested(list).iter().any(implies_test),
        Meta::List(list) if list.path.is_ident("any") => {
            let nested = nested(list);
            !nested.is_empty() && nested.iter().all(implies_test)
        }
        _ => false,
    }
}

/// Whether a macro on this item may read its docs.
fn may_read_docs(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("derive") {
            let mut silent = true;
            let parsed = attribute.parse_nested_meta(|derive| {
                let name = derive.path.segments.last().map(|segment| segment.ident.to_string());
                silent &= name.is_some_and(|name| SILENT_DERIVES.contains(&name.as_str()));
                Ok(())
            });
            return parsed.is_err() || !silent;
        }
        !is_lint_level(attribute) && !SILENT_ATTRIBUTES.iter().any(|name| attribute.path().is_ident(name))
    })
}

fn is_lint_level(attribute: &Attribute) -> bool {
    let path = attribute.path();
    let tool = path.segments.len() > 1 && path.segments.first().is_some_and(|first| first.ident == "rustfmt");
    tool || LINT_LEVELS.iter().any(|name| path.is_ident(name))
}

/// `#[cfg_attr(test, ..)]`.
fn is_for_tests(attribute: &Attribute) -> bool {
    let parser = Punctuated::<Meta, Token![,]>::parse_terminated;
    attribute.path().is_ident("cfg_attr")
        && attribute.parse_args_with(parser).is_ok_and(|parts| parts.first().is_some_and(implies_test))
}

struct Strip {
    keep_docs: bool,
}

/// Whatever can carry `#[cfg(test)]` is taken out of what contains it, before the visit goes on into the rest.
impl VisitMut for Strip {
    fn visit_attributes_mut(&mut self, attributes: &mut Vec<Attribute>) {
        attributes.retain(|attribute| {
            let doc = attribute.path().is_ident("doc") && !self.keep_docs;
            !doc && !is_lint_level(attribute) && !is_for_tests(attribute)
        });
    }

    fn visit_item_mut(&mut self, item: &mut Item) {
        let outside = self.keep_docs;
        self.keep_docs |= may_read_docs(of_item(item));
        visit_mut::visit_item_mut(self, item);
        self.keep_docs = outside;
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            items.retain(|item| !is_test(of_item(item)));
        }
        visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, block: &mut syn::ItemImpl) {
        block.items.retain(|item| {
            !is_test(match item {
                ImplItem::Const(item) => &item.attrs,
                ImplItem::Fn(item) => &item.attrs,
                ImplItem::Type(item) => &item.attrs,
                ImplItem::Macro(item) => &item.attrs,
                _ => &[],
            })
        });
        visit_mut::visit_item_impl_mut(self, block);
    }

    fn visit_item_trait_mut(&mut self, block: &mut syn::ItemTrait) {
        block.items.retain(|item| {
            !is_test(match item {
                TraitItem::Const(item) => &item.attrs,
                TraitItem::Fn(item) => &item.attrs,
                TraitItem::Type(item) => &item.attrs,
                TraitItem::Macro(item) => &item.attrs,
                _ => &[],
            })
        });
        visit_mut::visit_item_trait_mut(self, block);
    }

    fn visit_item_foreign_mod_mut(&mut self, block: &mut syn::ItemForeignMod) {
        block.items.retain(|item| {
            !is_test(match item {
                ForeignItem::Fn(item) => &item.attrs,
                ForeignItem::Static(item) => &item.attrs,
                ForeignItem::Type(item) => &item.attrs,
                ForeignItem::Macro(item) => &item.attrs,
                _ => &[],
            })
        });
        visit_mut::visit_item_foreign_mod_mut(self, block);
    }

    fn visit_item_enum_mut(&mut self, item: &mut syn::ItemEnum) {
        item.variants.retain(|variant| !is_test(&variant.attrs));
        visit_mut::visit_item_enum_mut(self, item);
    }

    fn visit_fields_named_mut(&mut self, fields: &mut syn::FieldsNamed) {
        fields.named.retain(|field| !is_test(&field.attrs));
        visit_mut::visit_fields_named_mut(self, fields);
    }

    fn visit_expr_struct_mut(&mut self, value: &mut syn::ExprStruct) {
        value.fields.retain(|field| !is_test(&field.attrs));
        visit_mut::visit_expr_struct_mut(self, value);
    }

    fn visit_expr_match_mut(&mut self, value: &mut syn::ExprMatch) {
        value.arms.retain(|arm: &Arm| !is_test(&arm.attrs));
        visit_mut::visit_expr_match_mut(self, value);
    }

    fn visit_block_mut(&mut self, block: &mut syn::Block) {
        block.stmts.retain(|statement| {
            !is_test(match statement {
                Stmt::Local(local) => &local.attrs,
                Stmt::Item(item) => of_item(item),
                Stmt::Macro(call) => &call.attrs,
                Stmt::Expr(Expr::Block(block), _) => &block.attrs,
                Stmt::Expr(..) => &[],
            })
        });
        // `{ return x }` and `{ return x; }` are one.
        if let Some(Stmt::Expr(Expr::Return(_) | Expr::Break(_) | Expr::Continue(_), semicolon)) =
            block.stmts.last_mut()
        {
            *semicolon = None;
        }
        visit_mut::visit_block_mut(self, block);
    }

    fn visit_macro_mut(&mut self, call: &mut syn::Macro) {
        let parser = Punctuated::<Expr, Token![,]>::parse_terminated;
        if OF_EXPRESSIONS.iter().any(|name| call.path.is_ident(name))
            && let Ok(mut arguments) = call.parse_body_with(parser)
        {
            arguments.iter_mut().for_each(|argument| self.visit_expr_mut(argument));
            arguments.pop_punct();
            call.tokens = arguments.into_token_stream();
        }
    }

    /// `|x| { y }` and `|x| y` are one.
    fn visit_expr_closure_mut(&mut self, closure: &mut syn::ExprClosure) {
        while let (ReturnType::Default, Expr::Block(body)) = (&closure.output, &mut *closure.body)
            && let ([], None, [Stmt::Expr(_, None)]) = (&body.attrs[..], &body.label, &body.block.stmts[..])
            && let Some(Stmt::Expr(value, None)) = body.block.stmts.pop()
        {
            *closure.body = value;
        }
        visit_mut::visit_expr_closure_mut(self, closure);
    }
}

fn of_item(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
