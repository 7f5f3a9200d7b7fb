//! From a catalog file to a built catalog, or its mistakes shown over the source.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};
use anyhow::Context as _;
use catalog::{Built, Catalog, Diagnostic, Severity, Sources};
use url::Url;

use crate::host::Program;
use crate::output::{is_coloured, log, plural};
use crate::secrets::{self, Missing};

/// What a catalog is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Its tests, which use neither captures nor materializations: those without a connector may be left out.
    Tests,
    /// To see whether it could be run, here or elsewhere, where there may be other connectors.
    Check,
    /// To run all of it, here.
    Run,
}

/// The file that a catalog begins with, which is there, and the folder from which files are named.
pub fn root(source: &str) -> anyhow::Result<(Url, PathBuf)> {
    let cwd = std::env::current_dir().context("the current directory cannot be found")?;
    let root = catalog::root_url(source, &cwd).map_err(|e| anyhow::anyhow!("{e}"))?;
    match root.to_file_path().map(std::fs::metadata) {
        Ok(Ok(found)) if found.is_dir() => {
            anyhow::bail!("{source} is a folder; --source names the file that a catalog begins with")
        }
        Ok(Ok(found)) if !found.is_file() => {
            anyhow::bail!("{source} is not a file that can be read again; a catalog is read whenever it is needed")
        }
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => anyhow::bail!(
            "there is no file {source}; --source names the file that a catalog begins with, and `segtide init` writes one"
        ),
        // What else may be wrong is found when it is read.
        _ => Ok((root, cwd)),
    }
}

/// Builds the catalog of a file, with its mistakes.
pub fn load(source: &str, purpose: For) -> anyhow::Result<Built> {
    let (root, cwd) = root(source)?;
    let missing = if purpose == For::Run { Missing::Refuse } else { Missing::StandIn };
    let mut built = catalog::build(&root, &catalog::Files, &Program::new(missing));
    if let Ok(directory) = Url::from_directory_path(&cwd) {
        built.catalog.sources.relative_to(directory);
    }
    let forbidding = built.diagnostics.iter_mut().filter(|diagnostic| diagnostic.forbids_running());
    forbidding.filter(|_| purpose == For::Run).for_each(|diagnostic| diagnostic.severity = Severity::Error);
    Ok(built)
}

/// Builds the catalog of a file to run it, and shows its mistakes. `None`: it has some that keep it from being run. Otherwise
/// its endpoints have the values that their configurations refer to.
pub fn build_to_run(source: &str) -> anyhow::Result<Option<Arc<Catalog>>> {
    let mut built = load(source, For::Run)?;
    show(&built);
    if !built.is_sound() {
        count(&built, source);
        return Ok(None);
    }
    let captures = built.catalog.captures.iter_mut().map(|capture| &mut capture.endpoint);
    let materializations = built.catalog.materializations.iter_mut().map(|m| &mut m.endpoint);
    for endpoint in captures.chain(materializations) {
        let resolved = secrets::resolve(endpoint, Missing::Refuse).map(std::borrow::Cow::into_owned);
        *endpoint = resolved.map_err(|errors| {
            let first = errors.into_iter().next().map(|error| error.message).unwrap_or_default();
            anyhow::anyhow!("a value went away while the catalog was read: {first}")
        })?;
    }
    Ok(Some(Arc::new(built.catalog)))
}

/// Builds the catalog of a file and shows its mistakes. `None`: it has some that keep it from being used so.
pub fn build(source: &str, purpose: For) -> anyhow::Result<Option<Arc<Catalog>>> {
    let built = load(source, purpose)?;
    show(&built);
    if !built.is_sound() {
        count(&built, source);
        return Ok(None);
    }
    Ok(Some(Arc::new(built.catalog)))
}

/// Says how many mistakes there are.
pub fn count(built: &Built, source: &str) {
    let errors = built.diagnostics.iter().filter(|d| d.severity == Severity::Error).count() + built.more;
    log(connectors::Level::Error, None, &format!("{} in {source}", plural(errors, "mistake")));
}

/// Shows the mistakes of a catalog.
pub fn show(built: &Built) {
    for diagnostic in &built.diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => connectors::Level::Error,
            Severity::Warning => connectors::Level::Warn,
        };
        log(level, None, &render(&built.catalog.sources, diagnostic));
    }
    if built.more > 0 {
        log(connectors::Level::Error, None, &format!("and {} more", built.more));
    }
}

/// A diagnostic over the lines it is about.
fn render(sources: &Sources, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let span = |place: catalog::Place| {
        let text = &sources.get(place.source).text;
        let end = (place.end as usize).min(text.len());
        // A place may span many lines, such as a whole mapping: its first line says where.
        let start = (place.start as usize).min(end);
        let first_line = text[start..end].find('\n').map_or(end, |at| start + at);
        start..first_line
    };
    let path = |place: catalog::Place| sources.locate(place).file;
    let main = &sources.get(diagnostic.place.source).text;
    let mut snippet = Snippet::source(&**main)
        .path(path(diagnostic.place))
        .annotation(AnnotationKind::Primary.span(span(diagnostic.place)));
    let mut others = Vec::new();
    for (place, label) in &diagnostic.related {
        let annotation = AnnotationKind::Context.span(span(*place)).label(label.as_str());
        if place.source == diagnostic.place.source {
            snippet = snippet.annotation(annotation);
        } else {
            others.push(Snippet::source(&*sources.get(place.source).text).path(path(*place)).annotation(annotation));
        }
    }
    let mut group =
        level.primary_title(diagnostic.message.as_str()).id(diagnostic.slug).element(snippet).elements(others);
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    let renderer = if is_coloured() { Renderer::styled() } else { Renderer::plain() };
    format!("{}\n", renderer.decor_style(DecorStyle::Ascii).render(&[group]))
}
