//! From the syntax tree of a class to plans of those of its methods that only shape data.
//!
//! What is compiled must mean the same whatever else the module does. So a class is looked at as a whole first: nothing may
//! change its methods, and `this` may not get out of it.

use std::collections::{HashMap, HashSet};

use oxc_ast::AstKind;
use oxc_ast::ast::{
    Argument, ArrowFunctionBody, ArrowFunctionExpression, BindingPattern, Class, ClassElement, Declaration, Expression,
    FormalParameters, Function, MethodDefinitionKind, Program, PropertyKey, Statement, UnaryOperator,
    VariableDeclarationKind,
};
use oxc_semantic::{AstNode, AstNodes, NodeId, Semantic, SymbolId};
use oxc_span::{GetSpan, Span};

use super::plan::{self, Body, Constant, Expr, FunctionId, Pattern, Plan, Slot, TextId};
use super::{Compiled, Refusal};
use crate::check::{Wanted, declared_class, exported_local, is_file};

mod call;
mod expression;
mod statement;

/// How deep a lambda's evaluation may nest.
const DEPTH_MAX: usize = 128;

/// What is not compiled, and where it begins in the text.
#[derive(Clone)]
struct Foreign {
    at: usize,
    what: String,
}

type Result<T> = std::result::Result<T, Foreign>;

fn refuse<T>(at: &impl GetSpan, what: impl Into<String>) -> Result<T> {
    Err(Foreign { at: at.span().start as usize, what: what.into() })
}

/// Compiles the wanted methods of the class.
pub(super) fn compile(program: &Program<'_>, semantic: &Semantic<'_>, wanted: &Wanted<'_>) -> Compiled {
    let mut compiled = Compiled::default();
    let refusal = |foreign: Foreign| {
        let before = program.source_text.get(..foreign.at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Refusal { line: u32::try_from(line).unwrap_or(u32::MAX), what: foreign.what }
    };
    let class = match closed_class(program, semantic, wanted.class) {
        Ok(class) => class,
        Err(foreign) => {
            let refusal = refusal(foreign);
            compiled.lambdas = wanted.methods.iter().map(|m| ((*m).to_owned(), Err(refusal.clone()))).collect();
            return compiled;
        }
    };
    compiled.quiet = !HOOKS.iter().any(|hook| class.members.contains_key(*hook));
    compiled.inert = program.body.iter().all(is_inert);
    let mut compiler = Compiler {
        semantic,
        class,
        top: top_level(program, semantic),
        plan: Plan::default(),
        texts: HashMap::new(),
        slots: HashMap::new(),
        closures: HashMap::new(),
        functions: HashMap::new(),
        function: 0,
        methods: false,
        depth: 0,
        deepest: 0,
    };
    for method in wanted.methods {
        let lambda = match compiler.class.members.get(*method) {
            Some(Member::Method(function)) => {
                let function = *function;
                compiler.method(function)
            }
            _ => refuse(&compiler.class.span, format!("`{method}` is no method of the class itself")),
        };
        compiled.lambdas.insert((*method).to_owned(), lambda.map_err(refusal));
    }
    compiled.plan = compiler.plan;
    compiled
}

/// A constant of the module or of its class.
#[derive(Clone, Copy)]
enum Literal<'s> {
    Constant(Constant),
    Text(&'s str),
}

fn literal<'s>(expression: &'s Expression<'_>) -> Option<Literal<'s>> {
    Some(match expression.get_inner_expression() {
        Expression::StringLiteral(text) if !text.lone_surrogates => Literal::Text(text.value.as_str()),
        Expression::NumericLiteral(number) => Literal::Constant(Constant::Number(number.value)),
        Expression::BooleanLiteral(value) => Literal::Constant(Constant::Bool(value.value)),
        Expression::NullLiteral(_) => Literal::Constant(Constant::Null),
        Expression::UnaryExpression(unary) if unary.operator == UnaryOperator::UnaryNegation => {
            match literal(&unary.argument)? {
                Literal::Constant(Constant::Number(number)) => Literal::Constant(Constant::Number(-number)),
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// A function as it is written.
#[derive(Clone, Copy)]
enum Source<'s, 'a> {
    Function(&'s Function<'a>),
    Arrow(&'s ArrowFunctionExpression<'a>),
}

impl<'s, 'a> Source<'s, 'a> {
    fn of(expression: &'s Expression<'a>) -> Option<Self> {
        match expression.get_inner_expression() {
            Expression::ArrowFunctionExpression(arrow) => Some(Source::Arrow(arrow)),
            Expression::FunctionExpression(function) => Some(Source::Function(function)),
            _ => None,
        }
    }

    fn span(self) -> Span {
        match self {
            Source::Function(function) => function.span,
            Source::Arrow(arrow) => arrow.span,
        }
    }
}

enum Member<'s, 'a> {
    Method(&'s Function<'a>),
    Constant(Literal<'s>),
    /// Anything else of that name.
    Other,
}

/// A class whose methods stay what they are.
struct Closed<'s, 'a> {
    /// By name; private ones with their `#`.
    members: HashMap<String, Member<'s, 'a>>,
    span: Span,
}

/// Methods of modern classes that are called beside their lambdas.
const HOOKS: [&str; 3] = ["flush", "reset", "startCommit"];
/// What an object gives itself, or its class, away by.
const GIVES_AWAY: [&str; 6] =
    ["constructor", "prototype", "__proto__", "valueOf", "__defineGetter__", "__defineSetter__"];

fn closed_class<'s, 'a>(program: &'s Program<'a>, semantic: &Semantic<'a>, name: &str) -> Result<Closed<'s, 'a>> {
    let local = exported_local(program, name);
    let Some(class) = local.and_then(|local| declared_class(program, local)) else {
        return refuse(&program.span, format!("`{name}` is not declared as a class"));
    };
    if let Some(base) = class.heritage_expression()
        && !is_import(base, semantic)
    {
        return refuse(base, "the class extends another");
    }
    uses(class, semantic)?;
    let written = written(class, semantic.nodes())?;

    let mut closed = Closed { members: HashMap::new(), span: class.span };
    for element in &class.body.body {
        let (key, computed, member) = match element {
            ClassElement::MethodDefinition(method) if method.value.body.is_none() => continue,
            ClassElement::MethodDefinition(method) => match method.kind {
                MethodDefinitionKind::Constructor => return refuse(&method.span, "the class has a constructor"),
                _ if method.r#static => continue,
                MethodDefinitionKind::Method => (&method.key, method.computed, Member::Method(&method.value)),
                _ => (&method.key, method.computed, Member::Other),
            },
            ClassElement::PropertyDefinition(property) if property.declare => continue,
            ClassElement::PropertyDefinition(property) if property.r#static && property.value.is_none() => continue,
            ClassElement::PropertyDefinition(property) => {
                let value = property.value.as_ref();
                let constant = value.and_then(literal);
                let runs = value.is_some_and(|v| constant.is_none() && Source::of(v).is_none());
                if runs && value.is_some_and(|v| !is_inert_value(v)) {
                    return refuse(&property.span, "a property whose value is worked out");
                }
                if property.r#static {
                    continue;
                }
                (&property.key, property.computed, constant.map_or(Member::Other, Member::Constant))
            }
            ClassElement::TSIndexSignature(_) => continue,
            ClassElement::StaticBlock(_) | ClassElement::AccessorProperty(_) => {
                return refuse(element, "a static block or an accessor");
            }
        };
        let name = match key {
            PropertyKey::PrivateIdentifier(private) => format!("#{}", private.name),
            key if computed => return refuse(key, "a member whose name is worked out"),
            key => match name_of(key) {
                Some(name) => name,
                None => return refuse(key, "a member whose name is no text"),
            },
        };
        if closed.members.insert(name, member).is_some() {
            return refuse(key, "two members of one name");
        }
    }
    for name in written {
        match closed.members.get_mut(&name) {
            Some(Member::Method(_)) => return refuse(class, format!("`{name}` is assigned to")),
            Some(constant) => *constant = Member::Other,
            None => {}
        }
    }
    Ok(closed)
}

/// Refuses a class that is used as a value: its methods could be changed by that.
fn uses(class: &Class<'_>, semantic: &Semantic<'_>) -> Result<()> {
    let Some(symbol) = class.id.as_ref().and_then(|id| id.symbol_id.get()) else { return Ok(()) };
    for reference in semantic.symbol_references(symbol) {
        let exported = matches!(semantic.nodes().parent_kind(reference.node_id()), AstKind::ExportSpecifier(_));
        if !exported && (reference.is_value() || reference.is_write()) {
            return refuse(&semantic.nodes().kind(reference.node_id()).span(), "the class is used as a value");
        }
    }
    Ok(())
}

/// The properties of `this` that are assigned to, changed or deleted. Refuses a class whose `this` gets out.
fn written(class: &Class<'_>, nodes: &AstNodes<'_>) -> Result<HashSet<String>> {
    let mut written = HashSet::new();
    for node in nodes.iter() {
        let span = node.kind().span();
        if span.start < class.span.start || span.end > class.span.end {
            continue;
        }
        match node.kind() {
            AstKind::Super(_) => return refuse(&span, "`super`"),
            AstKind::ThisExpression(_) => {}
            _ => continue,
        }
        let member = typeless_parent(nodes, node.id());
        let name = match member.kind() {
            AstKind::StaticMemberExpression(member) => member.property.name.to_string(),
            AstKind::PrivateFieldExpression(member) => format!("#{}", member.field.name),
            _ => return refuse(&span, "`this` as a value"),
        };
        if GIVES_AWAY.contains(&name.as_str()) {
            return refuse(&span, format!("`this.{name}`"));
        }
        let parent = typeless_parent(nodes, member.id());
        let member = member.kind().span();
        let is_left = |left: Span| left.start <= member.start && member.end <= left.end;
        let is_written = match parent.kind() {
            AstKind::AssignmentExpression(assignment) => is_left(assignment.left.span()),
            AstKind::UnaryExpression(unary) => unary.operator == UnaryOperator::Delete,
            AstKind::UpdateExpression(_)
            | AstKind::ArrayAssignmentTarget(_)
            | AstKind::ObjectAssignmentTarget(_)
            | AstKind::AssignmentTargetRest(_)
            | AstKind::AssignmentTargetWithDefault(_)
            | AstKind::AssignmentTargetPropertyIdentifier(_)
            | AstKind::AssignmentTargetPropertyProperty(_)
            | AstKind::ForInStatement(_)
            | AstKind::ForOfStatement(_) => true,
            _ => false,
        };
        if is_written {
            written.insert(name);
        }
    }
    Ok(written)
}

/// What a node stands in, parentheses and types aside.
fn typeless_parent<'n, 'a>(nodes: &'n AstNodes<'a>, id: NodeId) -> &'n AstNode<'a> {
    let mut parent = nodes.parent_node(id);
    while matches!(
        parent.kind(),
        AstKind::ParenthesizedExpression(_)
            | AstKind::TSAsExpression(_)
            | AstKind::TSNonNullExpression(_)
            | AstKind::TSSatisfiesExpression(_)
            | AstKind::TSTypeAssertion(_)
    ) {
        parent = nodes.parent_node(parent.id());
    }
    parent
}

fn is_import(expression: &Expression<'_>, semantic: &Semantic<'_>) -> bool {
    let Expression::Identifier(id) = expression else { return false };
    let Some(reference) = id.reference_id.get() else { return false };
    let symbol = semantic.scoping().get_reference(reference).symbol_id();
    let declares = |symbol| semantic.nodes().ancestor_kinds(semantic.scoping().symbol_declaration(symbol));
    // A class of another file may be anything; one of generated types has no more than its hooks.
    symbol.is_some_and(|symbol| {
        semantic.scoping().symbol_flags(symbol).is_import()
            && declares(symbol)
                .any(|kind| matches!(kind, AstKind::ImportDeclaration(import) if !is_file(&import.source)))
    })
}

/// The name of a property that is known beforehand.
fn name_of(key: &PropertyKey<'_>) -> Option<String> {
    match key {
        PropertyKey::StaticIdentifier(name) => Some(name.name.to_string()),
        PropertyKey::StringLiteral(text) if !text.lone_surrogates => Some(text.value.to_string()),
        PropertyKey::NumericLiteral(number) => {
            let mut name = String::new();
            super::number::write(number.value, &mut name);
            Some(name)
        }
        _ => None,
    }
}

/// Whether loading the module runs nothing of this statement that could fail or take long.
fn is_inert(statement: &Statement<'_>) -> bool {
    match statement {
        Statement::ImportDeclaration(_) | Statement::ExportNamedDeclaration(_) | Statement::EmptyStatement(_) => true,
        Statement::ExportDeclaration(export) => is_inert_declaration(&export.declaration),
        other => other.as_declaration().is_some_and(is_inert_declaration),
    }
}

fn is_inert_declaration(declaration: &Declaration<'_>) -> bool {
    match declaration {
        Declaration::FunctionDeclaration(_)
        | Declaration::TSTypeAliasDeclaration(_)
        | Declaration::TSInterfaceDeclaration(_) => true,
        // What the class itself does was looked at before.
        Declaration::ClassDeclaration(class) => {
            let quiet = |element: &ClassElement<'_>| match element {
                ClassElement::MethodDefinition(method) => !method.computed,
                ClassElement::PropertyDefinition(property) => {
                    !property.computed && property.value.as_ref().is_none_or(is_inert_value)
                }
                ClassElement::TSIndexSignature(_) => true,
                ClassElement::StaticBlock(_) | ClassElement::AccessorProperty(_) => false,
            };
            let base = class.heritage_expression();
            base.is_none_or(|base| matches!(base, Expression::Identifier(_))) && class.body.body.iter().all(quiet)
        }
        Declaration::VariableDeclaration(variables) => variables.declarations.iter().all(|variable| {
            matches!(variable.id, BindingPattern::BindingIdentifier(_))
                && variable.init.as_ref().is_none_or(is_inert_value)
        }),
        _ => false,
    }
}

/// A value that is there without anything being called or looked up.
fn is_inert_value(expression: &Expression<'_>) -> bool {
    let element = |e: &oxc_ast::ast::ArrayExpressionElement<'_>| e.as_expression().is_some_and(is_inert_value);
    match expression.get_inner_expression() {
        Expression::ArrayExpression(array) => array.elements.iter().all(element),
        Expression::ObjectExpression(object) => object.properties.iter().all(|property| match property {
            oxc_ast::ast::ObjectPropertyKind::ObjectProperty(p) => !p.computed && is_inert_value(&p.value),
            oxc_ast::ast::ObjectPropertyKind::SpreadProperty(_) => false,
        }),
        inner => literal(inner).is_some() || Source::of(inner).is_some(),
    }
}

/// What stands at the top of the module and stays what it is.
enum Top<'s, 'a> {
    Function(Source<'s, 'a>),
    Constant(Literal<'s>),
}

fn top_level<'s, 'a>(program: &'s Program<'a>, semantic: &Semantic<'a>) -> HashMap<SymbolId, Top<'s, 'a>> {
    let mut top = HashMap::new();
    for statement in &program.body {
        let declaration = match statement {
            Statement::ExportDeclaration(export) => Some(&export.declaration),
            other => other.as_declaration(),
        };
        match declaration {
            Some(Declaration::FunctionDeclaration(function)) if function.body.is_some() => {
                if let Some(symbol) = function.id.as_ref().and_then(|id| id.symbol_id.get())
                    && !semantic.scoping().symbol_is_mutated(symbol)
                    && semantic.scoping().symbol_redeclarations(symbol).is_empty()
                {
                    top.insert(symbol, Top::Function(Source::Function(function)));
                }
            }
            Some(Declaration::VariableDeclaration(variables)) if variables.kind == VariableDeclarationKind::Const => {
                for variable in &variables.declarations {
                    let BindingPattern::BindingIdentifier(id) = &variable.id else { continue };
                    let (Some(symbol), Some(value)) = (id.symbol_id.get(), &variable.init) else { continue };
                    let known = Source::of(value).map(Top::Function).or_else(|| literal(value).map(Top::Constant));
                    top.extend(known.map(|known| (symbol, known)));
                }
            }
            _ => {}
        }
    }
    top
}

struct Compiler<'s, 'a> {
    semantic: &'s Semantic<'a>,
    class: Closed<'s, 'a>,
    top: HashMap<SymbolId, Top<'s, 'a>>,
    plan: Plan,
    texts: HashMap<String, TextId>,
    /// Variables that are declared so far, each with the function that declares it.
    slots: HashMap<SymbolId, (Slot, u32)>,
    /// Functions that are declared so far within others.
    closures: HashMap<SymbolId, FunctionId>,
    /// Functions by where they begin; `None` while one is being compiled.
    functions: HashMap<u32, Option<FunctionId>>,
    /// Where the function begins that is being compiled.
    function: u32,
    /// Whether `this` is the instance.
    methods: bool,
    depth: usize,
    deepest: usize,
}

impl<'s, 'a> Compiler<'s, 'a> {
    fn method(&mut self, function: &'s Function<'a>) -> Result<FunctionId> {
        self.of_function(Source::Function(function), true)
    }

    /// Compiles a function, once. `methods`: whether `this` is the instance within it.
    fn of_function(&mut self, source: Source<'s, 'a>, methods: bool) -> Result<FunctionId> {
        let span = source.span();
        match self.functions.get(&span.start) {
            Some(Some(done)) => return Ok(*done),
            Some(None) => return refuse(&span, "a function that calls itself"),
            None => {}
        }
        self.functions.insert(span.start, None);
        let outside = (self.function, self.methods, self.depth, self.deepest);
        (self.function, self.methods, self.depth, self.deepest) = (span.start, methods, 0, 0);
        let compiled = self.function_body(source);
        let depth = self.deepest + 1;
        (self.function, self.methods, self.depth, self.deepest) = outside;
        match compiled {
            Ok((parameters, rest, body)) => {
                self.plan.functions.push(plan::Function { parameters, rest, body, depth });
                let id = self.plan.functions.len() - 1;
                self.functions.insert(span.start, Some(id));
                Ok(id)
            }
            Err(refusal) => {
                self.functions.remove(&span.start);
                Err(refusal)
            }
        }
    }

    fn function_body(&mut self, source: Source<'s, 'a>) -> Result<(Vec<Pattern>, Option<Pattern>, Body)> {
        match source {
            Source::Function(function) => {
                if function.r#async || function.generator {
                    return refuse(function, "an async function or a generator");
                }
                let Some(body) = &function.body else { return refuse(function, "a function without a body") };
                let (parameters, rest) = self.parameters(&function.params)?;
                Ok((parameters, rest, Body::Statements(self.statements(&body.statements)?)))
            }
            Source::Arrow(arrow) => {
                if arrow.r#async {
                    return refuse(arrow, "an async function");
                }
                let (parameters, rest) = self.parameters(&arrow.params)?;
                let body = match &arrow.body {
                    ArrowFunctionBody::FunctionBody(body) => Body::Statements(self.statements(&body.statements)?),
                    body => Body::Expression(self.expression(body.to_expression())?),
                };
                Ok((parameters, rest, body))
            }
        }
    }

    fn parameters(&mut self, parameters: &'s FormalParameters<'a>) -> Result<(Vec<Pattern>, Option<Pattern>)> {
        let mut patterns = Vec::with_capacity(parameters.items.len());
        for parameter in &parameters.items {
            let default = parameter.initializer.as_deref();
            // A default sees only parameters before it.
            let default = default.map(|expression| self.expression(expression)).transpose()?;
            let pattern = self.pattern(&parameter.pattern)?;
            patterns.push(match default {
                Some(default) => Pattern::Default(Box::new((pattern, default))),
                None => pattern,
            });
        }
        let rest = parameters.rest.as_ref().map(|rest| self.pattern(&rest.rest.argument)).transpose()?;
        Ok((patterns, rest))
    }

    fn pattern(&mut self, pattern: &'s BindingPattern<'a>) -> Result<Pattern> {
        match pattern {
            BindingPattern::BindingIdentifier(id) => match id.symbol_id.get() {
                Some(symbol) => Ok(Pattern::Local(self.declare(symbol))),
                None => refuse(&**id, format!("`{}`", id.name)),
            },
            BindingPattern::AssignmentPattern(assignment) => {
                let default = self.expression(&assignment.right)?;
                let pattern = self.pattern(&assignment.left)?;
                Ok(Pattern::Default(Box::new((pattern, default))))
            }
            BindingPattern::ObjectPattern(object) => {
                let mut names = Vec::with_capacity(object.properties.len());
                for property in &object.properties {
                    let name = if property.computed { None } else { name_of(&property.key) };
                    let Some(name) = name else { return refuse(property, "a property whose name is worked out") };
                    let name = self.text(&name);
                    names.push((name, self.pattern(&property.value)?));
                }
                let rest = match &object.rest {
                    None => None,
                    Some(rest) => match self.pattern(&rest.argument)? {
                        Pattern::Local(slot) => Some(slot),
                        _ => return refuse(&**rest, "the rest of an object taken apart"),
                    },
                };
                Ok(Pattern::Object(names, rest))
            }
            BindingPattern::ArrayPattern(array) => {
                let mut elements = Vec::with_capacity(array.elements.len());
                for element in &array.elements {
                    elements.push(element.as_ref().map(|pattern| self.pattern(pattern)).transpose()?);
                }
                let rest = array.rest.as_ref().map(|rest| self.pattern(&rest.argument)).transpose()?;
                Ok(Pattern::Array(elements, rest.map(Box::new)))
            }
        }
    }

    fn declare(&mut self, symbol: SymbolId) -> Slot {
        let slot = self.plan.slots;
        self.plan.slots += 1;
        self.slots.insert(symbol, (slot, self.function));
        slot
    }

    fn text(&mut self, text: &str) -> TextId {
        if let Some(id) = self.texts.get(text) {
            return *id;
        }
        let id = self.plan.texts.len();
        self.plan.texts.push(text.into());
        self.texts.insert(text.to_owned(), id);
        id
    }

    /// Notes that a call stands here, of a function that nests so deep.
    fn calls(&mut self, at: &impl GetSpan, function: FunctionId) -> Result<()> {
        self.nests(at, self.plan.functions[function].depth)
    }

    fn nests(&mut self, at: &impl GetSpan, more: usize) -> Result<()> {
        self.deepest = self.deepest.max(self.depth + more);
        if self.deepest > DEPTH_MAX {
            return refuse(at, format!("more than {DEPTH_MAX} expressions and calls within each other"));
        }
        Ok(())
    }

    fn constant(&mut self, literal: Literal<'_>) -> Expr {
        match literal {
            Literal::Constant(constant) => Expr::Constant(constant),
            Literal::Text(text) => Expr::Text(self.text(text)),
        }
    }

    /// What an identifier refers to; `None` is a name of the language.
    fn symbol(&self, id: &oxc_ast::ast::IdentifierReference<'_>) -> Option<SymbolId> {
        let reference = id.reference_id.get()?;
        self.semantic.scoping().get_reference(reference).symbol_id()
    }

    fn arguments(&mut self, arguments: &'s [Argument<'a>]) -> Result<Vec<Expr>> {
        let mut compiled = Vec::with_capacity(arguments.len());
        for argument in arguments {
            match argument.as_expression() {
                Some(expression) => compiled.push(self.expression(expression)?),
                None => return refuse(argument, "`...` in this call"),
            }
        }
        Ok(compiled)
    }
}
