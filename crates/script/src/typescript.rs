//! From TypeScript to the JavaScript that runs: parsed, checked, types taken away, printed.
//!
//! Nothing is type-checked. Parsing recurses as deep as its text nests, so it happens on a thread whose stack fits the
//! deepest nesting that a text of its length can have.

use std::collections::BTreeMap;
use std::path::Path;

use catalog::{Module, ModuleError, ModuleOutline, Text};
use oxc_allocator::Allocator;
use oxc_codegen::{Codegen, CodegenOptions};
use oxc_diagnostics::{OxcDiagnostic, Severity};
use oxc_parser::Parser;
use oxc_semantic::SemanticBuilder;
use oxc_span::SourceType;
use oxc_transformer::{TransformOptions, Transformer};

use crate::MODULE_BYTES_MAX;
use crate::check::{Wanted, exports, inspect, value_imports};
use crate::native::Compiled;

/// Stack for each byte of text: twice what the dearest nesting (a call within a call, three bytes a level) was seen to take.
const STACK_PER_TEXT_BYTE: usize = 3 << 10;
/// Stack whatever the text.
const STACK_BYTES_MIN: usize = 1 << 20;

/// A module as JavaScript.
#[derive(Debug)]
pub(crate) struct Script {
    /// The text of an ECMAScript module.
    pub(crate) code: String,
    /// The modules of generated types that it takes a value from.
    pub(crate) generated: Vec<String>,
    /// Those of its lambdas that need no engine.
    pub(crate) native: Compiled,
    /// The files it imports, each after all that it imports itself.
    pub(crate) parts: Vec<Part>,
    /// Whether all files that it imports are there.
    pub(crate) is_whole: bool,
    /// Places of the code, as line and column, in order, each with its line of the TypeScript; all from zero.
    lines: Vec<((u32, u32), u32)>,
    /// Of this text alone.
    file: ModuleOutline,
}

/// A file that a module imports.
#[derive(Debug)]
pub(crate) struct Part {
    /// What those who import it call it in the code.
    pub(crate) name: String,
    /// The file's name, for messages.
    pub(crate) file: String,
    pub(crate) script: Script,
}

impl Script {
    /// The line of the TypeScript behind a place of the code; all from one, as engines print them.
    pub(crate) fn source_line(&self, line: u32, column: u32) -> Option<u32> {
        let place = (line.checked_sub(1)?, column.saturating_sub(1));
        let after = self.lines.partition_point(|(at, _)| *at <= place);
        let (_, source) = self.lines.get(after.checked_sub(1)?)?;
        Some(source + 1)
    }
}

/// What a text writes for the files it imports, each with its name in the code.
type Links = BTreeMap<String, String>;

/// Why a module cannot be had: mistakes in it, or in a file that it imports, which is named.
pub(crate) type Mistakes = (Option<String>, Vec<ModuleError>);

/// Compiles a module whose class is to have the wanted methods, and the files that it imports, which a catalog's has.
pub(crate) fn compile(text: &str, wanted: &Wanted<'_>, module: Option<&Module>) -> Result<Script, Mistakes> {
    let links = |text: &Text| -> Links {
        let links = module.iter().flat_map(|module| &module.imports.links);
        let own = links.filter(|((by, _), _)| *by == text.url);
        own.map(|((_, from), target)| (from.clone(), target.to_string())).collect()
    };
    let own = module.map(|module| links(&module.text)).unwrap_or_default();
    let mut script = compile_text(text, Some(wanted), &own).map_err(|errors| (None, errors))?;
    for part in module.map_or(&[][..], |module| &module.imports.files) {
        let file = part.url.path().rsplit('/').next().unwrap_or_default().to_owned();
        let compiled = compile_text(&part.text, None, &links(part)).map_err(|e| (Some(file.clone()), e))?;
        script.is_whole &= compiled.is_whole;
        script.generated.extend(compiled.generated.iter().cloned());
        script.parts.push(Part { name: part.url.to_string(), file, script: compiled });
    }
    script.generated.sort();
    script.generated.dedup();
    Ok(script)
}

/// What a file of TypeScript has to do with others.
pub(crate) fn read(text: &str) -> Result<ModuleOutline, Vec<ModuleError>> {
    compile_text(text, None, &Links::new()).map(|script| script.file)
}

fn compile_text(text: &str, wanted: Option<&Wanted<'_>>, links: &Links) -> Result<Script, Vec<ModuleError>> {
    if text.len() > MODULE_BYTES_MAX {
        let message = format!("the module has {} bytes; at most {MODULE_BYTES_MAX} are allowed", text.len());
        return Err(vec![ModuleError { range: 0..0, message, hint: None }]);
    }
    let stack = STACK_BYTES_MIN + STACK_PER_TEXT_BYTE * text.len();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("typescript".to_owned())
            .stack_size(stack)
            .spawn_scoped(scope, || compile_here(text, wanted, links));
        let failed = |message: &str| Err(vec![ModuleError { range: 0..0, message: message.to_owned(), hint: None }]);
        match thread.map(|t| t.join()) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => failed("the TypeScript parser failed on this module"),
            Err(_) => failed("no thread to parse this module on"),
        }
    })
}

fn compile_here(text: &str, wanted: Option<&Wanted<'_>>, links: &Links) -> Result<Script, Vec<ModuleError>> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::ts()).parse();
    if parsed.diagnostics.has_errors() || parsed.panicked {
        return Err(mistakes(text, &parsed.diagnostics));
    }

    let semantic = SemanticBuilder::new_compiler().with_build_nodes(true).with_enum_eval(true).build(&parsed.program);
    let mut errors = mistakes(text, &semantic.diagnostics);
    errors.extend(inspect(&parsed, semantic.semantic.nodes(), wanted));
    let exports = exports(&parsed);
    let mut native = match wanted {
        Some(wanted) if errors.is_empty() => Compiled::of(&parsed.program, &semantic.semantic, wanted),
        _ => Compiled::default(),
    };
    let scoping = semantic.semantic.into_scoping();
    let mut program = parsed.program;

    let transformed = Transformer::new(&allocator, Path::new("module.ts"), &TransformOptions::default())
        .build_with_scoping(scoping, &mut program);
    errors.extend(mistakes(text, &transformed.diagnostics));
    let imports = value_imports(&mut program, &mut errors, |source| {
        if let Some(name) = links.get(source.value.as_str()) {
            source.value = allocator.alloc_str(name).into();
            source.raw = None;
        }
    });
    if !imports.files.is_empty() {
        native.loads_others();
    }
    if !errors.is_empty() {
        errors.sort_by_key(|e| (e.range.start, e.range.end));
        return Err(errors);
    }

    let options = CodegenOptions {
        source_map_path: Some("module.ts".into()),
        // Deep nesting must not print as so many spaces per line.
        indent_width: 0,
        ..CodegenOptions::default()
    };
    let printed = Codegen::new().with_options(options).with_source_text(text).build(&program);
    let mut lines: Vec<_> = printed
        .map
        .iter()
        .flat_map(|map| map.get_tokens())
        .map(|t| ((t.get_dst_line(), t.get_dst_col()), t.get_src_line()))
        .collect();
    lines.sort_unstable();
    let is_whole = imports.files.iter().all(|import| links.contains_key(&import.from));
    let file = ModuleOutline { imports: imports.files, exports };
    let (code, generated) = (printed.code, imports.generated);
    Ok(Script { code, generated, native, parts: Vec::new(), is_whole, lines, file })
}

/// Errors of oxc as ours: the first label is the place, the help is the hint.
fn mistakes(text: &str, diagnostics: &[OxcDiagnostic]) -> Vec<ModuleError> {
    let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error);
    errors
        .map(|d| {
            let at = d.labels.iter().find(|l| l.primary()).or(d.labels.first());
            let range = at.map_or(0..0, |l| {
                let begin = (l.offset() as usize).min(text.len());
                begin..(begin + l.len() as usize).min(text.len())
            });
            let hint = d.help.as_ref().or(d.note.as_ref()).map(|h| h.to_string());
            ModuleError { range, message: d.message.to_string(), hint }
        })
        .collect()
}
