//! From TypeScript to the JavaScript that runs: parsed, checked, types taken away, printed.
//!
//! Nothing is type-checked. Parsing recurses as deep as its text nests, so it happens on a thread whose stack fits the
//! deepest nesting that a text of its length can have.

use std::path::Path;

use catalog::ModuleError;
use oxc_allocator::Allocator;
use oxc_codegen::{Codegen, CodegenOptions};
use oxc_diagnostics::{OxcDiagnostic, Severity};
use oxc_parser::Parser;
use oxc_semantic::SemanticBuilder;
use oxc_span::SourceType;
use oxc_transformer::{TransformOptions, Transformer};

use crate::MODULE_BYTES_MAX;
use crate::check::{Wanted, inspect, value_imports};
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
    pub(crate) imports: Vec<String>,
    /// Those of its lambdas that need no engine.
    pub(crate) native: Compiled,
    /// Places of the code, as line and column, in order, each with its line of the TypeScript; all from zero.
    lines: Vec<((u32, u32), u32)>,
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

/// Compiles a module whose class is to have the wanted methods.
pub(crate) fn compile(text: &str, wanted: &Wanted<'_>) -> Result<Script, Vec<ModuleError>> {
    if text.len() > MODULE_BYTES_MAX {
        let message = format!("the module has {} bytes; at most {MODULE_BYTES_MAX} are allowed", text.len());
        return Err(vec![ModuleError { range: 0..0, message, hint: None }]);
    }
    let stack = STACK_BYTES_MIN + STACK_PER_TEXT_BYTE * text.len();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("typescript".to_owned())
            .stack_size(stack)
            .spawn_scoped(scope, || compile_here(text, wanted));
        let failed = |message: &str| Err(vec![ModuleError { range: 0..0, message: message.to_owned(), hint: None }]);
        match thread.map(|t| t.join()) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => failed("the TypeScript parser failed on this module"),
            Err(_) => failed("no thread to parse this module on"),
        }
    })
}

fn compile_here(text: &str, wanted: &Wanted<'_>) -> Result<Script, Vec<ModuleError>> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::ts()).parse();
    if parsed.diagnostics.has_errors() || parsed.panicked {
        return Err(mistakes(text, &parsed.diagnostics));
    }

    let semantic = SemanticBuilder::new_compiler().with_build_nodes(true).with_enum_eval(true).build(&parsed.program);
    let mut errors = mistakes(text, &semantic.diagnostics);
    errors.extend(inspect(&parsed, semantic.semantic.nodes(), wanted));
    let native = match errors.is_empty() {
        true => Compiled::of(&parsed.program, &semantic.semantic, wanted),
        false => Compiled::default(),
    };
    let scoping = semantic.semantic.into_scoping();
    let mut program = parsed.program;

    let transformed = Transformer::new(&allocator, Path::new("module.ts"), &TransformOptions::default())
        .build_with_scoping(scoping, &mut program);
    errors.extend(mistakes(text, &transformed.diagnostics));
    let imports = value_imports(&program, &mut errors);
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
    Ok(Script { code: printed.code, imports, native, lines })
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
