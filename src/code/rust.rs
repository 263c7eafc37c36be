//! A Rust file as code: what it says without comments, docs and tests, and which files it leads to.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use serde::{Deserialize, Serialize};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Item, Lit, Meta, MetaNameValue, Token};

use super::reach::{Include, Reach};
use super::strip;
use crate::hash::Hash;

/// What a Rust file means to the code it is part of. It depends on the file's bytes alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    /// Of the file printed again after [`strip`] took comments, docs and tests away. Of its tokens where the printer
    /// does not know the syntax. Of its bytes where it cannot be parsed, or where a macro sees the layout (`line!`,
    /// `column!`, `file!`, `stringify!`).
    pub hash: Hash,
    /// Its modules that are files.
    pub modules: Vec<Module>,
    /// The files it includes.
    pub includes: Vec<Include>,
    /// Whether it includes a file whose path only the compiler knows.
    pub unclear: bool,
    /// The variables that `env!` and `option_env!` read.
    pub variables: BTreeSet<String>,
    /// What string literals of attributes say, which may be files that derives read.
    pub named: BTreeSet<String>,
}

/// `mod name;`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Module {
    name: String,
    /// The inline modules around it (or their `#[path]`).
    inside: Vec<String>,
    /// `#[path = ".."]`.
    path: Option<String>,
    /// Whether only tests see it.
    pub test: bool,
}

/// A file a module may be, and whether it owns its folder as `mod.rs` does.
pub(super) struct Candidate {
    pub path: PathBuf,
    pub owner: bool,
}

impl Source {
    /// Reads the content of a file.
    pub fn of(bytes: &[u8]) -> Source {
        let raw = Hash::of(bytes);
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Reach::default().into_source(raw, Vec::new());
        };
        let Ok(mut file) = syn::parse_file(text) else {
            // Newer syntax than the parser's may still be read as tokens.
            let tokens: TokenStream = text.parse().unwrap_or_default();
            return Reach::of(tokens).into_source(raw, Vec::new());
        };
        let mut modules = Vec::new();
        collect_modules(&file.items, &mut Vec::new(), strip::is_test(&file.attrs), &mut modules);
        strip::strip(&mut file);
        let tokens = file.to_token_stream();
        let reach = Reach::of(tokens.clone());
        let hash = if reach.sees_layout {
            raw
        } else {
            // The printer panics at syntax it does not know.
            let printed = catch_unwind(AssertUnwindSafe(|| prettyplease::unparse(&file)));
            Hash::of(printed.unwrap_or_else(|_| tokens.to_string()).as_bytes())
        };
        reach.into_source(hash, modules)
    }
}

impl Module {
    /// The files this module of `file` may be. `owner`: `file` is the root of a crate, a `mod.rs`, or was reached by
    /// `#[path]`, so that its modules are beside it.
    pub fn candidates(&self, file: &Path, owner: bool) -> Vec<Candidate> {
        let folder = file.parent().unwrap_or(Path::new(""));
        let own = if owner { folder.to_owned() } else { file.with_extension("") };
        let base = self.inside.iter().fold(own, |base, name| base.join(name));
        match &self.path {
            Some(path) if self.inside.is_empty() => vec![Candidate { path: folder.join(path), owner: true }],
            Some(path) => vec![Candidate { path: base.join(path), owner: true }],
            None => vec![
                Candidate { path: base.join(format!("{}.rs", self.name)), owner: false },
                Candidate { path: base.join(&self.name).join("mod.rs"), owner: true },
            ],
        }
    }
}

fn collect_modules(items: &[Item], inside: &mut Vec<String>, test: bool, found: &mut Vec<Module>) {
    for item in items {
        let module = match item {
            Item::Mod(module) => module,
            Item::Macro(call) => {
                declared(call.mac.tokens.clone(), inside, test, found);
                continue;
            }
            _ => continue,
        };
        let test = test || strip::is_test(&module.attrs);
        let name = syn::ext::IdentExt::unraw(&module.ident).to_string();
        let path = module.attrs.iter().find_map(|attribute| path_of(&attribute.meta));
        match &module.content {
            Some((_, items)) => {
                inside.push(path.unwrap_or(name));
                collect_modules(items, inside, test, found);
                inside.pop();
            }
            None => {
                // Where the path holds on some systems alone, any of the files may be the module.
                let paths = std::iter::once(path).chain(conditional_paths(&module.attrs).map(Some));
                let module = |path| Module { name: name.clone(), inside: inside.clone(), path, test };
                found.extend(paths.map(module));
            }
        }
    }
}

/// The modules that the arguments of a macro declare, as those of `cfg_if!` do.
fn declared(tokens: TokenStream, inside: &[String], test: bool, found: &mut Vec<Module>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut path = None;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => match syn::parse2(group.stream()).ok().as_ref().and_then(path_of) {
                Some(named) => path = Some(named),
                None => declared(group.stream(), inside, test, found),
            },
            TokenTree::Ident(word) if word == "mod" => {
                if let [TokenTree::Ident(name), TokenTree::Punct(end), ..] = &tokens[index + 1..]
                    && end.as_char() == ';'
                {
                    let name = syn::ext::IdentExt::unraw(name).to_string();
                    found.push(Module { name, inside: inside.to_vec(), path: path.take(), test });
                }
            }
            _ => {}
        }
    }
}

/// What `path = ".."` names.
fn path_of(meta: &Meta) -> Option<String> {
    match meta {
        Meta::NameValue(MetaNameValue {
            path,
            value: Expr::Lit(ExprLit { lit: Lit::Str(named), .. }),
            ..
        }) if path.is_ident("path") => Some(named.value()),
        _ => None,
    }
}

/// What `cfg_attr(.., path = "..")` names.
fn conditional_paths(attributes: &[Attribute]) -> impl Iterator<Item = String> {
    let conditional = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg_attr"));
    let metas = conditional.filter_map(|attribute| {
        attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()
    });
    metas.flatten().filter_map(|meta| path_of(&meta))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> Hash {
        Source::of(text.as_bytes()).hash
    }

    #[test]
    fn comments_docs_layout_and_lint_levels_do_not_count() {
        let plain = "use a::b; fn f(x: u8) -> Vec<u8> { g(x, 1); vec![x, 2] }";
        let dressed = "//! Docs.\n#![warn(missing_docs)]\n/* c */ use a::b;\n\n/// More.\n#[allow(dead_code)]\n\
                       fn f(\n    x: u8,\n) -> Vec<u8> {\n    // Why.\n    g(\n        x,\n        1,\n    );\n    \
                       vec![\n        x,\n        2,\n    ]\n}\n";
        assert_eq!(hash(plain), hash(dressed));

        // What rustfmt adds when a line gets too long.
        let short = "fn f() { let Some(a) = b else { return }; c(|d| d + 1); let v = vec![f(|g| g)]; \
                     match e { F => g(), _ => h(1) } }";
        let long = "fn f() { let Some(a) = b else {\n return;\n };\n c(|d| {\n d + 1\n });\n \
                    let v = vec![f(|g| { g }),];\n match e {\n F => {\n g()\n }\n _ => h(\n 1,\n ),\n } }";
        assert_eq!(hash(short), hash(long));
        assert_ne!(hash("fn f() { c(|d| { d; }) }"), hash("fn f() { c(|d| { d }) }"));
    }

    #[test]
    fn tests_do_not_count_wherever_they_stand() {
        let plain = "struct S { a: u8 } impl S { fn a(&self) {} } fn f() { a(); }";
        let tested = "struct S { a: u8, #[cfg(test)] b: u8 } #[cfg_attr(test, derive(Debug))] impl S { fn a(&self) {} \
                      #[cfg(test)] fn b(&self) {} } fn f() { a(); #[cfg(test)] let x = 1; } #[cfg(all(test, unix))] \
                      mod tests { mod helper; } #[test] fn t() {} #[cfg(test)] use a::b;";
        assert_eq!(hash(plain), hash(tested));
        assert_ne!(hash(plain), hash(&format!("{plain} #[cfg(not(test))] fn g() {{}}")));
        assert_ne!(hash(plain), hash(&format!("{plain} #[cfg(any(test, unix))] fn g() {{}}")));
        assert_eq!(hash(""), hash("#![cfg(test)] fn helper() {}"));
    }

    #[test]
    fn names_literals_and_attributes_count() {
        let texts = [
            "fn f() { let a = 1; }",
            "fn f() { let b = 1; }",
            "fn f() { let a = 2; }",
            "fn f() { let a = (1,); }",
        ];
        let texts = texts.into_iter().chain(["fn f() { let a = (1); }", "#[inline] fn f() { let a = 1; }"]);
        let hashes: BTreeSet<Hash> = texts.map(hash).collect();
        assert_eq!(hashes.len(), 6);
    }

    #[test]
    fn docs_count_where_a_macro_may_read_them() {
        for silent in ["#[derive(Clone, serde::Serialize)]", "#[derive(thiserror::Error)]", "#[repr(C)]"] {
            assert_eq!(hash(&format!("{silent} struct S;")), hash(&format!("/// Docs.\n{silent} struct S;")));
        }
        for reading in ["#[derive(clap::Args)]", "#[derive(Clone, JsonSchema)]", "#[pyfunction]"] {
            let text = |docs: &str| format!("{reading} struct S {{ {docs} a: u8 }}");
            assert_ne!(hash(&text("")), hash(&text("/// Docs.\n")), "{reading}");
        }
    }

    #[test]
    fn a_file_whose_layout_is_seen_counts_as_bytes() {
        assert_ne!(hash("fn f() { g(line!()) }"), hash("fn f() {\n g(line!()) }"));
        assert_ne!(hash("fn f() { g(stringify!(a + b)) }"), hash("fn f() { g(stringify!(a+b)) }"));
        assert_eq!(hash("fn f() { line(); }"), hash("fn f() {\n line(); }"));
    }

    #[test]
    fn what_cannot_be_parsed_or_printed_counts_without_a_panic() {
        assert_ne!(hash("fn f( {"), hash("fn f(  {"));
        assert_ne!(hash("macro_rules! m { () = > {} }"), hash("macro_rules! m { () = > { 1 } }"));
        assert_eq!(Source::of(b"\xff").hash, Hash::of(b"\xff"));
    }

    #[test]
    fn modules_are_found_where_rustc_looks() {
        let source =
            Source::of(b"mod a; #[cfg(test)] mod tests; #[path = \"x/y.rs\"] mod z; mod inner { mod b; }");
        let paths = |owner: bool| -> Vec<String> {
            let modules = source.modules.iter();
            let candidates = modules.flat_map(|module| module.candidates(Path::new("src/m.rs"), owner));
            candidates.map(|candidate| candidate.path.display().to_string()).collect()
        };
        let beside =
            ["src/a.rs", "src/a/mod.rs", "src/tests.rs", "src/tests/mod.rs", "src/x/y.rs", "src/inner/b.rs"];
        assert_eq!(paths(true)[..6], beside);
        assert_eq!(paths(false)[..2], ["src/m/a.rs", "src/m/a/mod.rs"]);
        assert_eq!(paths(false)[4..6], ["src/x/y.rs", "src/m/inner/b.rs"]);
        assert_eq!(
            source.modules.iter().map(|module| module.test).collect::<Vec<_>>(),
            [false, true, false, false]
        );
    }

    #[test]
    fn modules_are_found_in_conditions_and_in_macros() {
        let source = Source::of(
            b"#[cfg_attr(unix, path = \"../unix.rs\")] mod system; cfg_if! { if #[cfg(unix)] { mod a; } else { \
              #[path = \"../b.rs\"] mod b; } }",
        );
        let modules = source.modules.iter();
        let candidates = modules.flat_map(|module| module.candidates(Path::new("src/main.rs"), true));
        let paths: Vec<String> = candidates.map(|it| it.path.display().to_string()).collect();
        let expected = [
            "src/system.rs",
            "src/system/mod.rs",
            "src/../unix.rs",
            "src/a.rs",
            "src/a/mod.rs",
            "src/../b.rs",
        ];
        assert_eq!(paths, expected);
    }
}
