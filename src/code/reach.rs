//! What the macros of a Rust file lead to: included files, variables of the compiler's environment, the layout itself.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use serde::{Deserialize, Serialize};
use syn::Lit;

use super::rust::{Module, Source};
use crate::hash::Hash;

/// Macros whose value follows from the layout of the file.
const LAYOUT: [&str; 4] = ["column", "file", "line", "stringify"];

/// What stands for the folder of the crate in a path.
const FOLDER: &str = "$CARGO_MANIFEST_DIR";

/// A file or folder that a macro whose name starts with `include` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Include {
    /// As written, after the base.
    pub path: String,
    pub base: Base,
    /// `include!`, whose file can include others.
    pub rust: bool,
}

/// Where a path starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Base {
    /// The folder of the file.
    File,
    /// The folder of the crate: `concat!(env!("CARGO_MANIFEST_DIR"), ..)`.
    Crate,
    /// The output of the build script, which counts itself.
    Out,
}

/// What was found in a file's tokens.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub sees_layout: bool,
    includes: Vec<Include>,
    unclear: bool,
    variables: BTreeSet<String>,
    named: BTreeSet<String>,
}

impl Reach {
    pub fn of(tokens: TokenStream) -> Reach {
        let mut reach = Reach::default();
        reach.read(tokens);
        reach
    }

    pub fn into_source(self, hash: Hash, modules: Vec<Module>) -> Source {
        let Reach { includes, unclear, variables, named, .. } = self;
        Source { hash, modules, includes, unclear, variables, named }
    }

    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (index, token) in tokens.iter().enumerate() {
            let TokenTree::Group(group) = token else { continue };
            if let [.., TokenTree::Ident(name), TokenTree::Punct(bang)] = &tokens[..index]
                && bang.as_char() == '!'
            {
                self.call(&name.to_string(), group.stream());
            }
            if let [.., TokenTree::Punct(sign)] = &tokens[..index]
                && sign.as_char() == '#'
            {
                // What derives may read: `#[template(path = "page.html")]`.
                collect_strings(group.stream(), &mut |text| self.named.extend([text]));
            }
            self.read(group.stream());
        }
    }

    fn call(&mut self, name: &str, arguments: TokenStream) {
        if LAYOUT.contains(&name) {
            self.sees_layout = true;
        } else if name.starts_with("include") {
            let place = arguments_of(arguments).into_iter().find_map(|argument| place(&argument));
            match place {
                Some((Base::Out, _)) => {}
                // As `include_dir!` has it.
                Some((Base::File, path)) if path.starts_with(FOLDER) => {
                    let path = path[FOLDER.len()..].trim_start_matches('/').to_owned();
                    self.includes.push(Include { path, base: Base::Crate, rust: false });
                }
                Some((base, path)) => self.includes.push(Include { path, base, rust: name == "include" }),
                None => self.unclear = true,
            }
        } else if matches!(name, "env" | "option_env")
            && let [TokenTree::Literal(literal), ..] = &arguments.into_iter().collect::<Vec<_>>()[..]
            && let Lit::Str(variable) = Lit::new(literal.clone())
        {
            self.variables.insert(variable.value());
        }
    }
}

/// All string literals of a Rust file; none if it cannot be read as tokens.
pub(super) fn strings(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect_strings(text.parse().unwrap_or_default(), &mut |text| found.push(text));
    found
}

fn collect_strings(tokens: TokenStream, found: &mut dyn FnMut(String)) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect_strings(group.stream(), found),
            TokenTree::Literal(literal) => {
                if let Lit::Str(string) = Lit::new(literal) {
                    found(string.value());
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

fn arguments_of(tokens: TokenStream) -> Vec<Vec<TokenTree>> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    tokens.split(comma).map(<[TokenTree]>::to_vec).collect()
}

/// The path that a literal, `concat!` or `env!` of cargo's folders spells.
fn place(tokens: &[TokenTree]) -> Option<(Base, String)> {
    match tokens {
        [TokenTree::Literal(literal)] => match Lit::new(literal.clone()) {
            Lit::Str(string) => Some((Base::File, string.value())),
            _ => None,
        },
        [TokenTree::Ident(name), TokenTree::Punct(_), TokenTree::Group(group)] => {
            let arguments = arguments_of(group.stream());
            if name == "env" {
                return match place(arguments.first()?)?.1.as_str() {
                    "CARGO_MANIFEST_DIR" => Some((Base::Crate, String::new())),
                    "OUT_DIR" => Some((Base::Out, String::new())),
                    _ => None,
                };
            }
            if name != "concat" {
                return None;
            }
            let mut whole: Option<(Base, String)> = None;
            for argument in arguments.iter().filter(|argument| !argument.is_empty()) {
                let (base, text) = place(argument)?;
                match &mut whole {
                    None => whole = Some((base, text)),
                    Some((_, path)) if base == Base::File => path.push_str(&text),
                    Some(_) => return None,
                }
            }
            let (base, path) = whole?;
            let path = if base == Base::File { path } else { path.trim_start_matches('/').to_owned() };
            Some((base, path))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(text: &str) -> Reach {
        Reach::of(text.parse().unwrap())
    }

    #[test]
    fn included_files_are_found_in_all_spellings() {
        let found = reach(
            r#"fn f() { g(include_str!("a.txt"), include!("../b.rs")); }
            static C: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/data/", "c.bin",));
            static D: &[u8] = include_bytes_aligned!(64, "d.bin");
            include!(concat!(env!("OUT_DIR"), "/made.rs"));"#,
        );
        let paths: Vec<_> =
            found.includes.iter().map(|include| (include.path.as_str(), include.base)).collect();
        let expected = [("a.txt", Base::File), ("../b.rs", Base::File), ("data/c.bin", Base::Crate)];
        assert_eq!(paths[..3], expected);
        assert_eq!(paths[3..], [("d.bin", Base::File)]);
        assert_eq!(
            found.includes.iter().map(|include| include.rust).collect::<Vec<_>>(),
            [false, true, false, false]
        );
        assert!(!found.unclear);
    }

    #[test]
    fn a_path_only_the_compiler_knows_is_unclear() {
        assert!(reach("macro_rules! asset { ($name:literal) => { include_str!($name) } }").unclear);
        assert!(!reach("fn f() { include_str(name) != 1 }").unclear);
    }

    #[test]
    fn variables_of_the_compiler_are_found() {
        let found = reach(r#"fn f() { println!("{}", env!("CARGO_PKG_VERSION")); option_env!("FLAVOUR"); }"#);
        assert_eq!(found.variables.into_iter().collect::<Vec<_>>(), ["CARGO_PKG_VERSION", "FLAVOUR"]);
    }
}
