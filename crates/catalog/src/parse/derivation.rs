//! Reading a derivation, in the spelling with registers (`derivation`) and in the later one (`derive`).

use url::Url;

use super::{RawSelector, Reader, Spanned, Word, below};
use crate::{Kind, Member, Place, Tree};

/// A derivation as written.
pub(crate) struct RawDerivation {
    /// Its key in the collection, or what stands for it.
    pub(crate) place: Place,
    pub(crate) using: RawUsing,
    pub(crate) register: Option<RawRegister>,
    pub(crate) transforms: Vec<RawTransform>,
}

pub(crate) enum RawUsing {
    /// The class named after the collection in the TypeScript file beside the catalog file.
    Sibling,
    /// A module: a relative URL, or its text where it has a line break.
    Module { module: Word, modern: bool },
    /// SQLite, with migrations as relative URLs or texts.
    Sqlite { migrations: Vec<Word> },
}

pub(crate) struct RawRegister {
    pub(crate) schema: Option<Spanned<Url>>,
    pub(crate) initial: Option<Tree>,
    pub(crate) place: Place,
}

pub(crate) struct RawTransform {
    pub(crate) name: Word,
    pub(crate) source: Option<Word>,
    pub(crate) source_schema: Option<Spanned<Url>>,
    pub(crate) selector: RawSelector,
    pub(crate) shuffle: RawShuffle,
    pub(crate) update: Option<RawLambda>,
    pub(crate) publish: Option<RawLambda>,
    pub(crate) priority: u32,
    pub(crate) read_delay_seconds: u64,
}

pub(crate) enum RawShuffle {
    /// By the source's key.
    Source,
    /// `any`: it does not matter where a document goes; treated as the source's key.
    Any,
    Key(Spanned<Vec<Word>>),
    /// A key alone, as the first catalogs had it: they named the source's own as well.
    Listed(Spanned<Vec<Word>>),
    /// Broken, and reported.
    Unknown,
}

pub(crate) enum RawLambda {
    /// A method, named after the transform.
    Method,
    /// The body of such a method, written in the catalog.
    Body(Word),
    /// SQL statements: a relative URL or the text.
    Sql(Word),
}

/// `derivation: {register, transform}`.
pub(super) fn register_style(tree: &Tree, at: &str, reader: &mut Reader) -> Option<RawDerivation> {
    let object = reader.object(tree, "a derivation with registers")?;
    let register = object.get("register").and_then(|tree| {
        let object = reader.object(tree, "a register")?;
        let schema = object.require("schema", reader);
        Some(RawRegister {
            schema: schema.and_then(|tree| reader.schema(tree, &below(&below(at, "register"), "schema"))),
            initial: object.get("initial").cloned(),
            place: tree.place,
        })
    });
    let module = object.get("typescript").and_then(|tree| module(tree, reader));
    let using = module.map_or(RawUsing::Sibling, |module| RawUsing::Module { module, modern: false });
    let members = match object.require("transform", reader) {
        Some(tree) => reader.map(tree, "`transform`"),
        None => &[],
    };
    let transforms = members.iter().map(|member| transform(member, &below(at, "transform"), reader)).collect();
    Some(RawDerivation { place: tree.place, using, register, transforms })
}

/// `derive: {using, transforms}`.
pub(super) fn derive_style(tree: &Tree, reader: &mut Reader) -> Option<RawDerivation> {
    let object = reader.object(tree, "a derivation")?;
    let using = object.require("using", reader)?;
    let using = match reader.map(using, "`using`") {
        [one] if one.key == "typescript" => RawUsing::Module { module: module(&one.value, reader)?, modern: true },
        [one] if one.key == "sqlite" => {
            let object = reader.object(&one.value, "`sqlite`")?;
            let migrations = object.get("migrations");
            let migrations = migrations.map(|tree| reader.words(tree, "`migrations`", "a migration"));
            RawUsing::Sqlite { migrations: migrations.unwrap_or_default() }
        }
        [one] => {
            let what = format!("deriving with `{}`", one.key);
            reader.unsupported(one.key_place, &what).hint("use `typescript` or `sqlite`");
            return None;
        }
        _ => {
            let message = "`using` has one language: `typescript` or `sqlite`";
            reader.report.error("derivation-language", using.place, message);
            return None;
        }
    };
    let sql = matches!(using, RawUsing::Sqlite { .. });
    let list = match object.require("transforms", reader) {
        Some(tree) => reader.list(tree, "`transforms`"),
        None => &[],
    };
    let transforms = list.iter().filter_map(|tree| derive_transform(tree, sql, reader)).collect();
    Some(RawDerivation { place: tree.place, using, register: None, transforms })
}

fn module(tree: &Tree, reader: &mut Reader) -> Option<Word> {
    let object = reader.object(tree, "`typescript`")?;
    if let Some(packages) = object.get("npmDependencies") {
        reader.npm(packages, object.key_place("npmDependencies"));
    }
    let module = object.require("module", reader)?;
    reader.word(module, "`module`")
}

fn transform(member: &Member, at: &str, reader: &mut Reader) -> RawTransform {
    let mut raw = RawTransform::new(member.name());
    let at = below(at, &member.key);
    let Some(object) = reader.object(&member.value, "a transform with lambdas") else {
        raw.shuffle = RawShuffle::Unknown;
        return raw;
    };
    if let Some(tree) = object.require("source", reader) {
        let source = reader.source(tree, "a source with a schema");
        let at = below(&below(&at, "source"), "schema");
        raw.source_schema = source.schema.and_then(|tree| reader.schema(tree, &at));
        raw.source = source.name;
        raw.selector = source.selector;
    }
    raw.shuffle = shuffle(object.get("shuffle"), reader);
    raw.update = object.get("update").and_then(|tree| lambda(tree, reader));
    raw.publish = object.get("publish").and_then(|tree| lambda(tree, reader));
    if object.get("update").is_none() && object.get("publish").is_none() {
        let message = format!("transform `{}` does nothing: it has neither an `update` nor a `publish`", member.key);
        reader
            .report
            .error("transform-no-lambda", member.key_place, message)
            .hint("add `publish: { lambda: typescript }`");
    }
    raw.timing(object, reader);
    raw
}

fn derive_transform(tree: &Tree, sql: bool, reader: &mut Reader) -> Option<RawTransform> {
    let object = reader.object(tree, "a transform")?;
    let name = object.require("name", reader)?;
    let mut raw = RawTransform::new(reader.word(name, "`name`")?);
    if object.get("disable").and_then(|tree| reader.boolean(tree, "`disable`")) == Some(true) {
        return None;
    }
    if let Some(tree) = object.require("source", reader) {
        let source = reader.source(tree, "a source");
        raw.source = source.name;
        raw.selector = source.selector;
    }
    raw.shuffle = shuffle(object.get("shuffle"), reader);
    raw.publish = if sql {
        let lambda = object.require("lambda", reader);
        lambda.and_then(|tree| reader.word(tree, "`lambda`")).map(RawLambda::Sql)
    } else {
        Some(RawLambda::Method)
    };
    raw.timing(object, reader);
    Some(raw)
}

impl RawTransform {
    fn new(name: Word) -> RawTransform {
        RawTransform {
            name,
            source: None,
            source_schema: None,
            selector: RawSelector::default(),
            shuffle: RawShuffle::Source,
            update: None,
            publish: None,
            priority: 0,
            read_delay_seconds: 0,
        }
    }

    fn timing(&mut self, object: super::Object, reader: &mut Reader) {
        let priority = object.get("priority").and_then(|tree| reader.unsigned(tree, "`priority`"));
        self.priority = priority.unwrap_or_default();
        let delay = object.get("readDelay").and_then(|tree| reader.seconds(tree, "`readDelay`"));
        self.read_delay_seconds = delay.unwrap_or_default();
    }
}

fn shuffle(tree: Option<&Tree>, reader: &mut Reader) -> RawShuffle {
    let Some(tree) = tree else {
        return RawShuffle::Source;
    };
    if tree.as_str() == Some("any") {
        return RawShuffle::Any;
    }
    if tree.as_array().is_some() {
        return reader.key(tree, "`shuffle`").map_or(RawShuffle::Unknown, RawShuffle::Listed);
    }
    let Some(object) = reader.object(tree, "a shuffle") else {
        return RawShuffle::Unknown;
    };
    if object.get("hash").is_some() && object.get("key").is_none() {
        return RawShuffle::Source;
    }
    if object.get("lambda").is_some() {
        let place = object.key_place("lambda");
        reader.unsupported(place, "shuffling by a lambda").hint("shuffle by a `key`");
        return RawShuffle::Unknown;
    }
    let key = object.require("key", reader).and_then(|tree| reader.key(tree, "`key`"));
    key.map_or(RawShuffle::Unknown, RawShuffle::Key)
}

/// `{lambda: typescript}`, or JavaScript written here: `{lambda: {nodeJS: ...}}`, and once `{nodeJS: ...}`.
fn lambda(tree: &Tree, reader: &mut Reader) -> Option<RawLambda> {
    let object = reader.object(tree, "an update or publish")?;
    if let Some(body) = object.get("nodeJS") {
        return reader.word(body, "`nodeJS`").map(RawLambda::Body);
    }
    let lambda = object.require("lambda", reader)?;
    match &lambda.kind {
        Kind::String(language) if language == "typescript" => Some(RawLambda::Method),
        Kind::String(language) => {
            let message = format!("`{language}` is not a language of lambdas");
            reader.report.error("lambda-unknown", lambda.place, message).hint("write `lambda: typescript`");
            None
        }
        Kind::Object(_) => {
            let object = reader.object(lambda, "a lambda")?;
            if object.get("remote").is_some() {
                reader.unsupported(lambda.place, "a remote lambda").hint("write `lambda: typescript`");
                return None;
            }
            let body = object.require("nodeJS", reader)?;
            reader.word(body, "`nodeJS`").map(RawLambda::Body)
        }
        _ => {
            reader.wrong(lambda, "`lambda`", "`typescript`");
            None
        }
    }
}
