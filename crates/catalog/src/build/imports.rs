//! The files that a module of lambdas imports, and those that they import.

use std::collections::HashMap;

use url::Url;

use super::{Build, suggest};
use crate::load::unreadable;
use crate::{FetchError, Import, Imports, ModuleError, ModuleOutline, Place, Text};

/// How many files a module may import, however indirectly.
const FILES_MAX: usize = 100;

/// What is known while imports are followed.
#[derive(Default)]
struct Walk {
    imports: Imports,
    /// What each file exports that was read: nobody knows of broken ones, and of those that pass on what others do.
    exports: HashMap<Url, Option<Vec<String>>>,
    /// The files from the module down to the one that is followed.
    open: Vec<Url>,
    broken: bool,
}

impl Build<'_, '_> {
    /// The files a module imports. Reports what is wrong with them and with how they are referred to; `None` if anything is.
    pub(super) fn imports(&mut self, module: &Text) -> Option<Imports> {
        // What is wrong with the module itself is found when it is checked with its class.
        let read = self.host.read_module(module).unwrap_or_default();
        let mut walk = Walk { open: vec![module.url.clone()], ..Walk::default() };
        self.follow(module, read, &mut walk);
        (!walk.broken).then_some(walk.imports)
    }

    fn follow(&mut self, text: &Text, read: ModuleOutline, walk: &mut Walk) {
        for import in read.imports {
            let place = self.place_in(text, import.range.clone());
            let Some(url) = self.imported(text, &import, place, walk) else {
                walk.broken = true;
                continue;
            };
            walk.imports.links.insert((text.url.clone(), import.from.clone()), url.clone());
            let Some(Some(exports)) = walk.exports.get(&url) else { continue };
            let exports: Vec<&str> = exports.iter().map(String::as_str).collect();
            for (name, range) in import.names.iter().filter(|(name, _)| !exports.contains(&name.as_str())) {
                let place = self.place_in(text, range.clone());
                let message = format!("`{}` does not export `{name}`", import.from);
                let error = self.report.error("module-invalid", place, message);
                suggest(error, name, &exports, "it exports nothing");
                walk.broken = true;
            }
        }
    }

    /// The file that an import means, read if it was not; `None` if that cannot be, and is reported.
    fn imported(&mut self, by: &Text, import: &Import, place: Place, walk: &mut Walk) -> Option<Url> {
        let Some(candidates) = candidates(&by.url, &import.from) else {
            let message = format!("`{}` is no TypeScript file", import.from);
            let error = self.report.error("module-invalid", place, message);
            error.hint("only files that end in `.ts` can be imported, and types of `flow/...`");
            return None;
        };
        let found = candidates.iter().map(|url| (url, self.library.file(url)));
        let (url, source) = match found.into_iter().find(|(_, source)| *source != Err(FetchError::Missing)) {
            Some((url, Ok(source))) => (url, source),
            Some((url, Err(error))) => {
                unreadable(self.library, &mut self.report, place, url, &error);
                return None;
            }
            None => {
                unreadable(self.library, &mut self.report, place, &candidates[0], &FetchError::Missing);
                return None;
            }
        };
        if walk.open.contains(url) {
            let message = format!("{} imports itself by this", self.library.display(url));
            let error = self.report.error("module-invalid", place, message);
            error.hint("move what both files need into one of its own, or write `import type` if types are all");
            return None;
        }
        if walk.exports.contains_key(url) {
            return Some(url.clone());
        }
        if walk.exports.len() == FILES_MAX {
            let message = format!("a module may import {FILES_MAX} files, and this is one more");
            self.report.error("module-invalid", place, message);
            return None;
        }
        let text = Text { url: url.clone(), text: self.library.text(source), place: Place::file(source) };
        match self.host.read_module(&text) {
            Ok(read) => {
                walk.exports.insert(url.clone(), read.exports.clone());
                walk.open.push(url.clone());
                self.follow(&text, read, walk);
                walk.open.pop();
                walk.imports.files.push(text);
            }
            Err(errors) => {
                walk.exports.insert(url.clone(), None);
                walk.broken = true;
                self.module_errors(&text, errors);
            }
        }
        Some(url.clone())
    }

    /// Reports what is wrong with a file of TypeScript.
    pub(super) fn module_errors(&mut self, text: &Text, errors: Vec<ModuleError>) {
        for ModuleError { range, message, hint } in errors {
            let place = self.place_in(text, range);
            self.report.error("module-invalid", place, message).hint = hint;
        }
    }
}

/// The files that an import may mean, first the likeliest. `./x` is `./x.ts`, or `index.ts` in a folder; `./x.js` is what
/// `./x.ts` becomes, as `tsc` has it. `None` if it cannot be a file of TypeScript.
fn candidates(by: &Url, from: &str) -> Option<Vec<Url>> {
    let name = from.rsplit('/').next().unwrap_or(from);
    let spellings = match name.rsplit_once('.') {
        Some((stem, "ts")) if !stem.is_empty() => vec![from.to_owned()],
        Some((stem, "js")) if !stem.is_empty() => vec![format!("{}.ts", &from[..from.len() - 3])],
        Some((stem, "json" | "yaml" | "yml" | "mjs" | "cjs" | "mts" | "cts" | "tsx" | "jsx" | "css" | "wasm"))
            if !stem.is_empty() =>
        {
            return None;
        }
        _ if name.chars().all(|c| c == '.') => vec![format!("{}/index.ts", from.trim_end_matches('/'))],
        _ => vec![format!("{from}.ts"), format!("{from}/index.ts")],
    };
    spellings.iter().map(|spelling| by.join(spelling).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_imports_may_mean() {
        let by = Url::parse("file:///w/a/flow.ts").unwrap();
        for (from, expected) in [
            ("./x", "file:///w/a/x.ts file:///w/a/x/index.ts"),
            ("./x.ts", "file:///w/a/x.ts"),
            ("./x.js", "file:///w/a/x.ts"),
            ("../x.flow", "file:///w/x.flow.ts file:///w/x.flow/index.ts"),
            ("..", "file:///w/index.ts"),
            ("./", "file:///w/a/index.ts"),
            ("./.ts", "file:///w/a/.ts.ts file:///w/a/.ts/index.ts"),
            ("./x.json", ""),
        ] {
            let found: Vec<_> = candidates(&by, from).into_iter().flatten().map(String::from).collect();
            assert_eq!(found.join(" "), expected, "{from}");
        }
    }
}
