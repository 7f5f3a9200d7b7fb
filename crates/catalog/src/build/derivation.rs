//! Building a derivation: its module, its register, its transforms and how they shuffle.

use std::ops::Range;

use doc::{Arena, Pointer, Types, from_value};
use serde_json::Value;
use url::Url;

use super::Build;
use super::schema::{Named, reason, rule_place};
use crate::load::unreadable;
use crate::names::{Form, camel_case};
use crate::parse::{RawDerivation, RawLambda, RawRegister, RawShuffle, RawTransform, RawUsing, Spanned, Word};
use crate::{Derivation, FetchError, Kind, Lambda, Module, Place, SqlError, Text, Transform, Tree, Using};

/// The class of a module that serves one derivation.
const CLASS_OF_ONE: &str = "Derivation";

/// What one transform shuffles by.
struct Shuffled<'r> {
    transform: &'r Word,
    types: Vec<Types>,
}

impl Build<'_, '_> {
    pub(super) fn derivation(&mut self, file: &Url, collection: &str, raw: &RawDerivation) -> Option<Derivation> {
        let modern = !matches!(raw.using, RawUsing::Sibling | RawUsing::Module { modern: false, .. });
        let words: Vec<&Word> = raw.transforms.iter().map(|transform| &transform.name).collect();
        let first = self.names("transform", &words, Form::Token);
        let mut transforms = Vec::new();
        let mut shuffles = Vec::new();
        for (raw, _) in raw.transforms.iter().zip(first).filter(|(_, first)| *first) {
            let built = self.transform(file, raw, modern);
            if let Some((transform, named)) = built {
                let shape = named.schema.shape();
                let types = transform.shuffle.iter().map(|pointer| shape.locate(pointer).shape.types).collect();
                if !matches!(raw.shuffle, RawShuffle::Any | RawShuffle::Unknown) {
                    shuffles.push(Shuffled { transform: &raw.name, types });
                }
                transforms.push(transform);
            }
        }
        transforms.sort_by(|a, b| a.name.cmp(&b.name));
        let joined = raw
            .transforms
            .iter()
            .any(|raw| raw.update.is_some() || matches!(raw.shuffle, RawShuffle::Key(_) | RawShuffle::Listed(_)));
        if joined {
            self.check_alignment(&shuffles);
        }
        let using = self.using(file, collection, raw);
        let register = self.register(file, collection, raw.register.as_ref());
        if let Some(Using::Sqlite { migrations }) = &using {
            self.check_sql(migrations, &transforms);
        }
        let (register_schema, register_initial) = register?;
        Some(Derivation { using: using?, register_schema: register_schema.schema, register_initial, transforms })
    }

    /// A transform and the schema its source documents are read by.
    fn transform(&mut self, file: &Url, raw: &RawTransform, modern: bool) -> Option<(Transform, Named)> {
        let name = &raw.name.value;
        let given = raw.source_schema.as_ref().and_then(|url| self.schema(url));
        let source = raw.source.as_ref()?;
        let collection = self.resolve(source, &format!("transform `{name}`"))?;
        let (key, schema, place) = (collection.key.clone(), collection.read_schema.clone(), collection.place);
        let own = Named { url: self.read_urls.get(&source.value)?.clone(), schema };
        let mut source_schema = None;
        if let (Some(url), Some(given)) = (&raw.source_schema, given) {
            if given.url == own.url {
                let message = format!("this is already the schema of collection `{}`", source.value);
                self.report.error("source-schema-redundant", url.place, message).hint("leave it out");
            } else {
                source_schema = Some(given);
            }
        }
        // Where a source schema is broken the collection's stands in, so that the shuffle is still looked at.
        let read = source_schema.clone().unwrap_or(own);
        let shuffle = match &raw.shuffle {
            RawShuffle::Key(words) | RawShuffle::Listed(words) => {
                if words.value.is_empty() {
                    let message = format!("the shuffle key of transform `{name}` cannot be empty");
                    self.report
                        .error("shuffle-empty", words.place, message)
                        .hint("leave it out to shuffle by the source's key");
                }
                let pointers: Vec<Pointer> = words
                    .value
                    .iter()
                    .filter_map(|word| self.key_location(word, "part of the shuffle key", &read))
                    .collect();
                if !modern && matches!(raw.shuffle, RawShuffle::Key(_)) && pointers[..] == key[..] {
                    let message = format!("this is already the key of collection `{}`", source.value);
                    let error = self.report.error("shuffle-redundant", words.place, message);
                    error.related(place, "it is defined here").hint("leave the shuffle out");
                }
                if pointers.is_empty() { key } else { pointers.into() }
            }
            _ => key,
        };
        let lambda = |lambda: &Option<RawLambda>, suffix: &str, build: &mut Self| match lambda {
            Some(RawLambda::Method | RawLambda::Body(_)) => {
                let suffix = if modern { "" } else { suffix };
                Some(Lambda::Method(camel_case(name, false) + suffix))
            }
            Some(RawLambda::Sql(word)) => build.sql(file, word).map(Lambda::Sql),
            None => None,
        };
        let transform = Transform {
            name: name.clone(),
            source: source.value.clone(),
            source_schema: source_schema.map(|named| named.schema),
            selector: self.selector(&raw.selector, &source.value),
            shuffle,
            update: lambda(&raw.update, "Update", self),
            publish: lambda(&raw.publish, "Publish", self),
            priority: raw.priority,
            read_delay_seconds: raw.read_delay_seconds,
            place: raw.name.place,
        };
        Some((transform, read))
    }

    /// Documents of all transforms meet in one register, so their shuffle keys must be of the same types.
    fn check_alignment(&mut self, shuffles: &[Shuffled]) {
        let Some((one, rest)) = shuffles.split_first() else {
            return;
        };
        for other in rest.iter().filter(|other| other.types != one.types) {
            let shown = |types: &[Types]| types.iter().map(Types::to_string).collect::<Vec<_>>().join(", ");
            let message = format!(
                "transform `{}` shuffles by {}, and `{}` by {}",
                other.transform.value,
                shown(&other.types),
                one.transform.value,
                shown(&one.types)
            );
            let error = self.report.error("shuffle-types", other.transform.place, message);
            error.related(one.transform.place, "which is defined here");
            error.hint("documents meet only if their shuffle keys have as many parts, of the same types");
        }
    }

    fn register(&mut self, file: &Url, collection: &str, raw: Option<&RawRegister>) -> Option<(Named, String)> {
        let place = Place::file(self.library.file(file).ok()?);
        let Some(raw) = raw else {
            let any = Tree { kind: Kind::Bool(true), place };
            let pointer = format!("/collections/{}/register", crate::tree::escaped(collection));
            let value = self.library.inline(file, &pointer, &any);
            return Some((self.schema(&Spanned { value, place })?, Value::Null.to_string()));
        };
        let named = self.schema(raw.schema.as_ref()?)?;
        let initial = raw.initial.as_ref().map_or(Value::Null, Tree::to_value);
        let arena = Arena::new();
        if let Err(invalid) = named.schema.validate(from_value(&arena, &initial)) {
            let place = raw.initial.as_ref().map_or(raw.place, |tree| tree.place_at(&invalid.location));
            let message = format!("the initial register is not valid: {}", reason(&invalid));
            let error = self.report.error("register-initial", place, message);
            if let Some(rule) = rule_place(self.library, &invalid.schema_location) {
                error.related(rule, "the schema says so here");
            }
            if raw.initial.is_none() {
                error.hint("it is `null` unless `initial` says otherwise");
            }
        }
        Some((named, initial.to_string()))
    }

    fn using(&mut self, file: &Url, collection: &str, raw: &RawDerivation) -> Option<Using> {
        let (text, class, modern) = match &raw.using {
            RawUsing::Sqlite { migrations } => {
                let migrations = migrations.iter().filter_map(|word| self.sql(file, word)).collect();
                return Some(Using::Sqlite { migrations });
            }
            RawUsing::Sibling if bodies(raw).next().is_some() => {
                (self.written_module(file, collection, raw)?, CLASS_OF_ONE.to_owned(), false)
            }
            RawUsing::Module { module, modern } => (self.module(file, module)?, CLASS_OF_ONE.to_owned(), *modern),
            // Its lambdas are of another kind, and reported.
            RawUsing::Sibling if !raw.transforms.is_empty() && lambdas(raw).next().is_none() => return None,
            RawUsing::Sibling => {
                let url = sibling(file);
                let text = match self.library.file(&url) {
                    Ok(source) => Text { url, text: self.library.text(source), place: Place::file(source) },
                    Err(error) => {
                        let class = camel_case(collection, true);
                        let place = Place { end: raw.place.start, ..raw.place };
                        let shown = self.library.display(&url);
                        if error == FetchError::Missing {
                            let message = format!("there is no module {shown} for the lambdas of `{collection}`");
                            let error = self.report.error("module-missing", place, message);
                            error.hint(format!("write it, and export `class {class}` from it"));
                        } else {
                            unreadable(self.library, &mut self.report, place, &url, &error);
                        }
                        return None;
                    }
                };
                (text, camel_case(collection, true), false)
            }
        };
        let imports = self.imports(&text);
        let sound = imports.is_some();
        let module = Module { text, class, modern, imports: imports.unwrap_or_default() };
        let mut methods = Vec::new();
        for transform in &raw.transforms {
            let method = camel_case(&transform.name.value, false);
            for (lambda, suffix) in [(&transform.update, "Update"), (&transform.publish, "Publish")] {
                if let Some(RawLambda::Method | RawLambda::Body(_)) = lambda {
                    methods.push(if modern { method.clone() } else { method.clone() + suffix });
                }
            }
        }
        let methods: Vec<&str> = methods.iter().map(String::as_str).collect();
        if let Err(errors) = self.host.check_module(&module, &methods) {
            self.module_errors(&module.text, errors);
        }
        sound.then_some(Using::Typescript(module))
    }

    fn check_sql<'t>(&mut self, migrations: &[Text], transforms: &'t [Transform]) {
        let with_source = |transform: &'t Transform| Some((transform, self.collections.get(&transform.source)?));
        let transforms: Vec<_> = transforms.iter().filter_map(with_source).collect();
        if let Err(errors) = self.host.check_sql(migrations, &transforms) {
            for SqlError { text, error } in errors {
                let place = self.place_in(&text, error.range);
                self.report.error("sql-invalid", place, error.message).hint = error.hint;
            }
        }
    }

    /// Where a part of a program's text stands. What is written in YAML is looked for: its offsets are not those of the file.
    pub(super) fn place_in(&self, text: &Text, range: Range<usize>) -> Place {
        let whole = text.place;
        if whole == Place::file(whole.source) {
            return Place { source: whole.source, start: range.start as u32, end: range.end as u32 };
        }
        let file = self.library.text(whole.source);
        let find = || {
            let part = text.text.get(range.clone())?.lines().next().filter(|part| !part.is_empty())?;
            let written = file.get(whole.start as usize..whole.end as usize)?;
            let before = text.text[..range.start].matches(part).count();
            let at = whole.start + written.match_indices(part).nth(before)?.0 as u32;
            Some(Place { start: at, end: at + part.len() as u32, ..whole })
        };
        find().unwrap_or(whole)
    }

    /// The module of lambdas that are written in the catalog, each the body of a function or an expression.
    fn written_module(&mut self, file: &Url, collection: &str, raw: &RawDerivation) -> Option<Text> {
        let first = bodies(raw).next()?.place;
        let mut text = format!("export class {CLASS_OF_ONE} {{\n");
        let mut sound = true;
        for transform in &raw.transforms {
            let name = camel_case(&transform.name.value, false);
            for (lambda, suffix, parameters) in
                [(&transform.update, "Update", "source"), (&transform.publish, "Publish", "source, register, previous")]
            {
                match lambda {
                    Some(RawLambda::Body(body)) => {
                        let code = body.value.trim();
                        let words: Vec<&str> = code.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
                        if let Some(word) = ["await", "yield", "require", "import"].iter().find(|w| words.contains(w)) {
                            let message =
                                format!("`{word}` is not supported in a lambda that is written in the catalog");
                            let error = self.report.error("unsupported", body.place, message);
                            error.hint("a lambda takes a document and returns a list, and uses nothing else");
                            sound = false;
                        }
                        let statements = match words.contains(&"return") {
                            true => code.to_owned(),
                            false => format!("return ({});", code.trim_end_matches(';')),
                        };
                        text += &format!("{name}{suffix}({parameters}) {{\n{statements}\n}}\n");
                    }
                    Some(_) => {
                        let message =
                            format!("some lambdas of `{collection}` are written in the catalog, this one is not");
                        let error = self.report.error("lambda-mixed", transform.name.place, message);
                        error.related(first, "one is written here").hint("move all of them to the module");
                        sound = false;
                    }
                    None => {}
                }
            }
        }
        text += "}\n";
        sound.then(|| Text { url: file.clone(), text: text.into(), place: first })
    }

    /// A module: text with a line break, or else a file.
    fn module(&mut self, file: &Url, word: &Word) -> Option<Text> {
        if word.value.contains('\n') {
            return Some(Text { url: file.clone(), text: word.value.as_str().into(), place: word.place });
        }
        let url = match file.join(&word.value) {
            Ok(url) => url,
            Err(error) => {
                let message = format!("`{}` is not a URL: {error}", word.value);
                self.report.error("url-invalid", word.place, message);
                return None;
            }
        };
        match self.library.file(&url) {
            Ok(source) => Some(Text { url, text: self.library.text(source), place: Place::file(source) }),
            Err(error) => {
                unreadable(self.library, &mut self.report, word.place, &url, &error);
                None
            }
        }
    }

    /// SQL: the text, or the file it names; what has no line break and no blank names one.
    fn sql(&mut self, file: &Url, word: &Word) -> Option<Text> {
        if word.value.trim().contains(char::is_whitespace) {
            Some(Text { url: file.clone(), text: word.value.as_str().into(), place: word.place })
        } else {
            self.module(file, word)
        }
    }
}

/// The lambdas of a derivation.
fn lambdas(raw: &RawDerivation) -> impl Iterator<Item = &RawLambda> {
    raw.transforms.iter().flat_map(|transform| [&transform.update, &transform.publish]).flatten()
}

/// The lambdas of a derivation that are written in the catalog.
fn bodies(raw: &RawDerivation) -> impl Iterator<Item = &Word> {
    lambdas(raw).filter_map(|lambda| match lambda {
        RawLambda::Body(body) => Some(body),
        _ => None,
    })
}

/// The TypeScript file beside a catalog file: its last extension replaced by `.ts`.
fn sibling(file: &Url) -> Url {
    let path = file.path();
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let mut url = file.clone();
    url.set_query(None);
    url.set_path(&format!("{}{stem}.ts", &path[..path.len() - name.len()]));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings() {
        let cases = [
            ("2_derive.flow.yaml", "2_derive.flow.ts"),
            ("flow.yaml", "flow.ts"),
            ("a%20b.yml", "a%20b.ts"),
            ("x", "x.ts"),
        ];
        for (name, expected) in cases {
            let url = Url::parse(&format!("file:///w.d/{name}")).unwrap();
            assert_eq!(sibling(&url).as_str(), format!("file:///w.d/{expected}"));
        }
    }
}
