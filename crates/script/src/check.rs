//! Does a module fit its derivation: the class it exports, the methods of it, and what a lambda may not use.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use catalog::{Import, ModuleError};
use oxc_ast::AstKind;
use oxc_ast::ast::{
    Class, ClassElement, Declaration, ExportDefaultDeclarationKind, Expression, ImportDeclaration,
    ImportDeclarationSpecifier, MethodDefinitionKind, Program, PropertyKey, Statement, StringLiteral,
    TSModuleReference,
};
use oxc_parser::ParserReturn;
use oxc_semantic::AstNodes;
use oxc_span::{GetSpan, Span, best_match};

/// The base class of derivations, the one value among the generated types.
pub(crate) const BASE_CLASS: &str = "IDerivation";
/// How many edits away a name may be to be meant.
const EDITS_MAX: usize = 4;

/// What a derivation expects of its module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The exported class.
    pub(crate) class: &'a str,
    /// Its methods.
    pub(crate) methods: &'a [&'a str],
}

/// What of a file as it was written cannot work; `wanted` of the module itself, not of files that it imports.
pub(crate) fn inspect(
    parsed: &ParserReturn<'_>,
    nodes: &AstNodes<'_>,
    wanted: Option<&Wanted<'_>>,
) -> Vec<ModuleError> {
    let record = &parsed.module_record;
    let mut errors = Vec::new();
    for import in &record.dynamic_imports {
        errors.push(mistake(import.span, "`import()` is not allowed: a lambda has only its own module", None));
    }
    for span in &record.import_metas {
        errors.push(mistake(*span, "`import.meta` is not allowed in a lambda's module", None));
    }
    for node in nodes.iter() {
        let waits = match node.kind() {
            AstKind::AwaitExpression(_) => true,
            AstKind::ForOfStatement(f) => f.r#await,
            _ => false,
        };
        let inside = |kind| matches!(kind, AstKind::Function(_) | AstKind::ArrowFunctionExpression(_));
        if waits && !nodes.ancestor_kinds(node.id()).any(inside) {
            errors.push(mistake(node.kind().span(), "top-level `await` is not allowed in a lambda's module", None));
        }
        if let AstKind::Decorator(decorator) = node.kind() {
            errors.push(mistake(decorator.span, "decorators are not supported", None));
        }
    }
    for statement in &parsed.program.body {
        if let Statement::TSImportEqualsDeclaration(import) = statement
            && matches!(import.module_reference, TSModuleReference::ExternalModuleReference(_))
        {
            errors.push(foreign(import.span));
        }
    }
    if let Some(wanted) = wanted {
        inspect_class(parsed, wanted, &mut errors);
    }
    errors
}

/// Where values are imported from.
#[derive(Debug, Default)]
pub(crate) struct ValueImports {
    /// Modules of generated types; of them only the base class can be had.
    pub(crate) generated: Vec<String>,
    /// Other files.
    pub(crate) files: Vec<Import>,
}

/// What values a file imports once types are gone. `rename` is given each import of another file, and may change it.
pub(crate) fn value_imports<'a>(
    program: &mut Program<'a>,
    errors: &mut Vec<ModuleError>,
    mut rename: impl FnMut(&mut StringLiteral<'a>),
) -> ValueImports {
    let mut imports = ValueImports::default();
    let mut file = |names: Vec<(String, Range<usize>)>, source: &mut StringLiteral<'a>| {
        imports.files.push(Import { from: source.value.to_string(), range: range(source.span), names });
        rename(source);
    };
    for statement in &mut program.body {
        match statement {
            Statement::ImportDeclaration(import) if import.with_clause.is_some() => {
                errors.push(mistake(import.span, "imports with attributes are not supported", None));
            }
            Statement::ImportDeclaration(import) if is_file(&import.source) => {
                let names = import.specifiers.iter().flatten().filter_map(|specifier| match specifier {
                    ImportDeclarationSpecifier::ImportSpecifier(s) => {
                        Some((s.imported.name().to_string(), range(s.imported.span())))
                    }
                    ImportDeclarationSpecifier::ImportDefaultSpecifier(s) => {
                        Some(("default".to_owned(), range(s.span)))
                    }
                    ImportDeclarationSpecifier::ImportNamespaceSpecifier(_) => None,
                });
                file(names.collect(), &mut import.source);
            }
            Statement::ImportDeclaration(import) => {
                let source = import.source.value.as_str();
                if !source.starts_with("flow/") {
                    errors.push(foreign(import.span));
                    continue;
                }
                let before = errors.len();
                errors.extend(not_the_base_class(import));
                if errors.len() == before && !imports.generated.iter().any(|i| i == source) {
                    imports.generated.push(source.to_owned());
                }
            }
            Statement::ExportFromDeclaration(export) if is_file(&export.source) => {
                let names = export.specifiers.iter().map(|s| (s.local.name().to_string(), range(s.local.span())));
                file(names.collect(), &mut export.source);
            }
            Statement::ExportAllDeclaration(export) if is_file(&export.source) => {
                file(Vec::new(), &mut export.source);
            }
            Statement::ExportFromDeclaration(export) => errors.push(foreign(export.span)),
            Statement::ExportAllDeclaration(export) => errors.push(foreign(export.span)),
            _ => {}
        }
    }
    imports
}

/// Whether an import means a file, relative to the one that has it.
pub(crate) fn is_file(source: &StringLiteral<'_>) -> bool {
    let source = source.value.as_str();
    source.starts_with("./") || source.starts_with("../") || source == "." || source == ".."
}

/// The names a file exports; `None` if it passes on all of another one.
pub(crate) fn exports(parsed: &ParserReturn<'_>) -> Option<Vec<String>> {
    let mut names: Vec<String> = parsed.module_record.exported_bindings.keys().map(ToString::to_string).collect();
    for statement in &parsed.program.body {
        match statement {
            Statement::ExportDefaultDeclaration(_) => names.push("default".to_owned()),
            Statement::ExportFromDeclaration(export) => {
                names.extend(export.specifiers.iter().map(|s| s.exported.name().to_string()));
            }
            Statement::ExportAllDeclaration(export) => names.push(export.exported.as_ref()?.name().to_string()),
            _ => {}
        }
    }
    names.sort();
    names.dedup();
    Some(names)
}

fn not_the_base_class(import: &ImportDeclaration<'_>) -> Vec<ModuleError> {
    let hint = || Some("use it only as a type, or write `import type`".to_owned());
    let specifiers = import.specifiers.iter().flatten();
    specifiers
        .filter_map(|specifier| match specifier {
            ImportDeclarationSpecifier::ImportSpecifier(s) if s.imported.name() == BASE_CLASS => None,
            other => Some(mistake(
                other.span(),
                format!("`{}` is a type: it has no value when the lambda runs", other.local().name),
                hint(),
            )),
        })
        .collect()
}

fn foreign(span: Span) -> ModuleError {
    let message = "a lambda's module cannot import packages";
    let hint = "only files, as in `./prices.ts`, and types of `flow/...` can be imported";
    mistake(span, message, Some(hint.to_owned()))
}

/// One member of a class that a call could find.
struct Member {
    name: Range<usize>,
    wrong: Option<&'static str>,
}

fn inspect_class(parsed: &ParserReturn<'_>, wanted: &Wanted<'_>, errors: &mut Vec<ModuleError>) {
    let program = &parsed.program;
    let Some(local) = exported_local(program, wanted.class) else {
        errors.push(missing_class(parsed, wanted.class));
        return;
    };
    // Exported, but not as a class declaration: what it is shows when it is loaded.
    let Some(class) = declared_class(program, local) else {
        return;
    };
    let name = class.id.as_ref().map_or(class.span, |id| id.span);
    if class.r#abstract {
        errors.push(mistake(name, format!("class `{}` is abstract", wanted.class), None));
    }

    let mut members = BTreeMap::new();
    let complete = members_of(program, class, &mut members);
    for method in wanted.methods {
        match members.get(*method) {
            Some(Member { name, wrong: Some(wrong) }) => errors.push(ModuleError {
                range: name.clone(),
                message: format!("`{method}` {wrong}"),
                hint: Some(format!("write `{method}(...) {{ ... }}`, returning an array of documents")),
            }),
            Some(_) => {}
            None if complete => {
                let message = format!("class `{}` has no method `{method}`", wanted.class);
                errors.push(mistake(name, message, Some(methods_hint(method, &members))));
            }
            None => {}
        }
    }
}

/// The name within the module of what it exports under `name`.
pub(crate) fn exported_local<'a>(program: &Program<'a>, name: &str) -> Option<Cow<'a, str>> {
    program.body.iter().find_map(|statement| match statement {
        Statement::ExportDeclaration(export) => declared(&export.declaration, name),
        Statement::ExportNamedDeclaration(export) => {
            let specifier = export.specifiers.iter().find(|s| s.exported.name() == name)?;
            Some(Cow::Owned(specifier.local.name().to_string()))
        }
        _ => None,
    })
}

fn declared<'a>(declaration: &Declaration<'a>, name: &str) -> Option<Cow<'a, str>> {
    match declaration {
        Declaration::ClassDeclaration(class) if !class.declare => {
            class.name().filter(|n| n == name).map(|n| Cow::Owned(n.to_string()))
        }
        Declaration::VariableDeclaration(variables) => variables
            .declarations
            .iter()
            .find_map(|v| v.id.get_binding_identifier().filter(|id| id.name == name))
            .map(|id| Cow::Owned(id.name.to_string())),
        _ => None,
    }
}

/// The class of this name at the top of the module.
pub(crate) fn declared_class<'p, 'a>(program: &'p Program<'a>, name: impl AsRef<str>) -> Option<&'p Class<'a>> {
    program.body.iter().find_map(|statement| {
        let class = match statement {
            Statement::ClassDeclaration(class) => class,
            Statement::ExportDeclaration(export) => match &export.declaration {
                Declaration::ClassDeclaration(class) => class,
                _ => return None,
            },
            Statement::ExportDefaultDeclaration(export) => match &export.declaration {
                ExportDefaultDeclarationKind::ClassDeclaration(class) => class,
                _ => return None,
            },
            _ => return None,
        };
        (class.name()? == name.as_ref()).then_some(&**class)
    })
}

/// Collects members by name, nearest class first; says whether there can be no others.
fn members_of(program: &Program<'_>, class: &Class<'_>, members: &mut BTreeMap<String, Member>) -> bool {
    let mut complete = true;
    for element in &class.body.body {
        let (key, computed, wrong) = match element {
            ClassElement::MethodDefinition(method) => {
                // A signature of an overload, or of an abstract method.
                if method.value.body.is_none() || method.kind == MethodDefinitionKind::Constructor {
                    continue;
                }
                let wrong = match method.kind {
                    _ if method.r#static => Some("is static; it must be a method of the instance"),
                    MethodDefinitionKind::Set => Some("is a setter; it must be a method"),
                    _ if method.value.generator => Some("is a generator; it must return an array"),
                    _ => None,
                };
                (&method.key, method.computed, wrong)
            }
            ClassElement::PropertyDefinition(property) if property.value.is_some() => {
                let wrong = property.r#static.then_some("is static; it must be a method of the instance");
                (&property.key, property.computed, wrong)
            }
            _ => continue,
        };
        match key.static_name() {
            Some(name) if !matches!(key, PropertyKey::PrivateIdentifier(_)) => {
                let span = key.span();
                members.entry(name.into_owned()).or_insert(Member { name: range(span), wrong });
            }
            _ => complete &= !computed,
        }
    }
    match class.heritage_expression() {
        None => complete,
        Some(Expression::Identifier(base)) => match declared_class(program, base.name) {
            // A class may only extend one that stands before it; anything else fails when it is loaded.
            Some(base) if base.span.start < class.span.start => members_of(program, base, members) && complete,
            Some(_) => complete,
            None => complete && imports_base_class(program, base.name.as_str()),
        },
        Some(_) => false,
    }
}

fn imports_base_class(program: &Program<'_>, local: &str) -> bool {
    program.body.iter().any(|statement| match statement {
        Statement::ImportDeclaration(import) if !is_file(&import.source) => {
            import.specifiers.iter().flatten().any(|s| s.local().name == local)
        }
        _ => false,
    })
}

fn missing_class(parsed: &ParserReturn<'_>, class: &str) -> ModuleError {
    if let Some(declared) = declared_class(&parsed.program, class) {
        let name = declared.id.as_ref().map_or(declared.span, |id| id.span);
        let hint = format!("write `export class {class}`");
        return mistake(name, format!("class `{class}` is not exported by its name"), Some(hint));
    }
    let mut exported: Vec<&str> = parsed.module_record.exported_bindings.keys().map(|k| k.as_str()).collect();
    exported.sort_unstable();
    if exported.contains(&class) {
        let message = format!("`{class}` is exported, but is no class");
        return ModuleError { range: 0..0, message, hint: Some(format!("write `export class {class}`")) };
    }
    let hint = match best_match(class, exported.iter().copied(), EDITS_MAX) {
        Some(near) => format!("did you mean `{near}`?"),
        None if exported.is_empty() => "it exports nothing".to_owned(),
        None => format!("it exports {}", list(&exported)),
    };
    ModuleError { range: 0..0, message: format!("the module exports no class `{class}`"), hint: Some(hint) }
}

fn methods_hint(method: &str, members: &BTreeMap<String, Member>) -> String {
    let names: Vec<&str> = members.keys().map(String::as_str).collect();
    match best_match(method, names.iter().copied(), EDITS_MAX) {
        Some(near) => format!("did you mean `{near}`? It has {}", list(&names)),
        None if names.is_empty() => "it has no methods".to_owned(),
        None => format!("it has {}", list(&names)),
    }
}

fn list(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

fn mistake(span: Span, message: impl Into<String>, hint: Option<String>) -> ModuleError {
    ModuleError { range: range(span), message: message.into(), hint }
}

fn range(span: Span) -> Range<usize> {
    span.start as usize..span.end as usize
}
