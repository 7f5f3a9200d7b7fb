//! Runs a plan over the nodes of documents.
//!
//! Whatever JavaScript would throw, and whatever is not worth having twice, ends the call with [`GiveUp`]. Lambdas change
//! nothing, so such a call can be made again elsewhere.

use doc::{Arena, Field, Node};

use super::plan::{
    Binary, Body, Constant, Each, Expr, FunctionId, Item, Logical, Part, Pattern, Plan, Statement, Unary,
};
use super::value::{Property, Value};
use super::{GiveUp, number};

mod builtins;
mod methods;
mod output;

/// Steps of one call: expressions, elements, and sixteenths of strings' bytes. A millisecond or so.
const STEPS_MAX: usize = 100_000;

/// Why an expression has no value.
enum Stop {
    GiveUp,
    /// Nothing stands before a `?.`.
    Short,
}

impl From<GiveUp> for Stop {
    fn from(_: GiveUp) -> Stop {
        Stop::GiveUp
    }
}

type Result<T> = std::result::Result<T, Stop>;

/// How a run of statements ends.
enum Flow<'p> {
    On,
    Break,
    /// With the value of this, which is not worked out yet: variables stay as they are.
    Return(&'p Expr),
}

/// Runs functions of a plan for a block of calls.
pub(super) struct Evaluator<'p, 'a> {
    plan: &'p Plan,
    arena: &'a Arena,
    /// The plan's strings, in the arena.
    texts: Vec<&'a str>,
    slots: Vec<Value<'a>>,
    /// What is being made, innermost last, until it moves to the arena.
    values: Vec<Value<'a>>,
    properties: Vec<Property<'a>>,
    fields: Vec<Field<'a>>,
    nodes: Vec<Node<'a>>,
    text: String,
    steps: usize,
    /// What all calls may yet take of the arena.
    bytes: usize,
}

impl<'p, 'a> Evaluator<'p, 'a> {
    pub(super) fn new(plan: &'p Plan, arena: &'a Arena, bytes_max: usize) -> Self {
        Evaluator {
            plan,
            arena,
            texts: plan.texts.iter().map(|text| &*arena.alloc_str(text)).collect(),
            slots: vec![Value::Undefined; plan.slots],
            values: Vec::new(),
            properties: Vec::new(),
            fields: Vec::new(),
            nodes: Vec::new(),
            text: String::new(),
            steps: 0,
            bytes: bytes_max,
        }
    }

    /// Calls a function as a lambda, and adds the documents of the array it returns.
    pub(super) fn call(
        &mut self,
        function: FunctionId,
        arguments: &[Node<'a>],
        documents: &mut Vec<Node<'a>>,
    ) -> std::result::Result<(), GiveUp> {
        self.values.clear();
        self.properties.clear();
        self.fields.clear();
        self.nodes.clear();
        self.steps = STEPS_MAX;
        self.values.extend(arguments.iter().map(|node| Value::from(*node)));
        let returned = self.enter(function, 0).and_then(|body| match body {
            Some(Expr::Array(items)) if items.iter().all(|item| matches!(item, Item::One(_))) => self.rows(items),
            Some(expr) => {
                self.element(expr)?;
                match self.nodes.pop() {
                    Some(Node::Array(rows)) => {
                        self.nodes.extend_from_slice(rows);
                        Ok(())
                    }
                    _ => Err(Stop::GiveUp),
                }
            }
            None => Err(Stop::GiveUp),
        });
        match returned {
            Ok(()) => {
                documents.append(&mut self.nodes);
                Ok(())
            }
            Err(_) => Err(GiveUp),
        }
    }

    /// Leaves the documents of an array literal among the nodes.
    fn rows(&mut self, items: &'p [Item]) -> Result<()> {
        for item in items {
            let (Item::One(expr) | Item::Spread(expr)) = item;
            self.element(expr)?;
        }
        Ok(())
    }

    fn spend(&mut self, steps: usize) -> Result<()> {
        self.steps = self.steps.checked_sub(steps).ok_or(Stop::GiveUp)?;
        Ok(())
    }

    fn reserve(&mut self, bytes: usize) -> Result<()> {
        self.spend(bytes / 16)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Stop::GiveUp)?;
        Ok(())
    }

    /// Keeps a string.
    fn keep(&mut self, text: &str) -> Result<Value<'a>> {
        self.reserve(text.len())?;
        Ok(Value::Text(self.arena.alloc_str(text)))
    }

    /// The array of the values from a place on.
    fn array(&mut self, base: usize) -> Result<Value<'a>> {
        self.reserve((self.values.len() - base) * size_of::<Value<'_>>())?;
        let array = self.arena.alloc_slice_copy(&self.values[base..]);
        self.values.truncate(base);
        Ok(Value::Array(array))
    }

    /// The object of the properties from a place on, which are sorted.
    fn object(&mut self, base: usize) -> Result<Value<'a>> {
        self.reserve((self.properties.len() - base) * size_of::<Property<'_>>())?;
        let object = self.arena.alloc_slice_copy(&self.properties[base..]);
        self.properties.truncate(base);
        Ok(Value::Object(object))
    }

    /// Binds the arguments, which are the values from a place on, and runs a function up to what it returns. `None`: it
    /// returns nothing.
    fn enter(&mut self, function: FunctionId, base: usize) -> Result<Option<&'p Expr>> {
        let plan: &'p Plan = self.plan;
        let function = &plan.functions[function];
        for (at, pattern) in function.parameters.iter().enumerate() {
            let argument = self.values.get(base + at).copied().unwrap_or(Value::Undefined);
            self.bind(pattern, argument)?;
        }
        if let Some(pattern) = &function.rest {
            let from = (base + function.parameters.len()).min(self.values.len());
            let rest = self.array(from)?;
            self.bind(pattern, rest)?;
        }
        self.values.truncate(base);
        match &function.body {
            Body::Expression(expr) => Ok(Some(expr)),
            Body::Statements(statements) => match self.run(statements)? {
                Flow::Return(expr) => Ok(Some(expr)),
                Flow::On | Flow::Break => Ok(None),
            },
        }
    }

    fn run(&mut self, statements: &'p [Statement]) -> Result<Flow<'p>> {
        for statement in statements {
            let flow = match statement {
                Statement::Declare(pattern, expr) => {
                    let value = self.value(expr)?;
                    self.bind(pattern, value)?;
                    Flow::On
                }
                Statement::Assign(slot, expr) => {
                    self.slots[*slot] = self.value(expr)?;
                    Flow::On
                }
                Statement::Expression(expr) => {
                    self.value(expr)?;
                    Flow::On
                }
                Statement::If(test, then, other) => {
                    let test = self.value(test)?.is_truthy();
                    self.run(if test { then } else { other })?
                }
                Statement::Switch(value, cases) => self.switch(value, cases)?,
                Statement::Break => Flow::Break,
                Statement::Return(expr) => Flow::Return(expr),
                Statement::Throw => return Err(Stop::GiveUp),
            };
            if !matches!(flow, Flow::On) {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn switch(&mut self, value: &'p Expr, cases: &'p [(Option<Expr>, Vec<Statement>)]) -> Result<Flow<'p>> {
        let value = self.value(value)?;
        let mut from = None;
        for (at, (test, _)) in cases.iter().enumerate() {
            if let Some(test) = test
                && self.value(test)?.is_strictly(value)?
            {
                from = Some(at);
                break;
            }
        }
        let Some(from) = from.or_else(|| cases.iter().position(|(test, _)| test.is_none())) else {
            return Ok(Flow::On);
        };
        for (_, statements) in &cases[from..] {
            match self.run(statements)? {
                Flow::On => {}
                Flow::Break => return Ok(Flow::On),
                returned => return Ok(returned),
            }
        }
        Ok(Flow::On)
    }

    /// Takes a value apart into variables.
    fn bind(&mut self, pattern: &'p Pattern, value: Value<'a>) -> Result<()> {
        match pattern {
            Pattern::Local(slot) => self.slots[*slot] = value,
            Pattern::Default(both) => {
                let (pattern, default) = &**both;
                let value = if matches!(value, Value::Undefined) { self.value(default)? } else { value };
                self.bind(pattern, value)?;
            }
            Pattern::Object(names, rest) => {
                if value.is_nullish() {
                    return Err(Stop::GiveUp);
                }
                self.spend(names.len())?;
                for (name, pattern) in names {
                    let found = value.property(self.texts[*name])?;
                    self.bind(pattern, found)?;
                }
                if let Some(slot) = rest {
                    self.slots[*slot] = self.others(value, names)?;
                }
            }
            Pattern::Array(patterns, rest) => {
                let elements = value.elements().ok_or(Stop::GiveUp)?;
                self.spend(patterns.len())?;
                for (at, pattern) in patterns.iter().enumerate() {
                    if let Some(pattern) = pattern {
                        self.bind(pattern, elements.get(at))?;
                    }
                }
                if let Some(pattern) = rest {
                    let base = self.values.len();
                    self.values.extend(elements.iter().skip(patterns.len()));
                    let rest = self.array(base)?;
                    self.bind(pattern, rest)?;
                }
            }
        }
        Ok(())
    }

    /// The properties of an object that are not named.
    fn others(&mut self, value: Value<'a>, names: &[(usize, Pattern)]) -> Result<Value<'a>> {
        let texts = &self.texts;
        let is_named = |name: &str| names.iter().any(|(text, _)| texts[*text] == name);
        match value {
            Value::Fields(fields) => {
                let others: Vec<Field<'a>> = fields.iter().filter(|f| !is_named(f.name)).copied().collect();
                self.reserve(others.len() * size_of::<Field<'_>>())?;
                Ok(Value::Fields(self.arena.alloc_slice_copy(&others)))
            }
            Value::Object(properties) => {
                let base = self.properties.len();
                self.properties.extend(properties.iter().filter(|p| !is_named(p.name)));
                self.object(base)
            }
            _ => Err(Stop::GiveUp),
        }
    }

    /// The value of an expression.
    fn value(&mut self, expr: &'p Expr) -> Result<Value<'a>> {
        self.spend(1)?;
        match expr {
            Expr::Constant(constant) => Ok(match constant {
                Constant::Undefined => Value::Undefined,
                Constant::Null => Value::Null,
                Constant::Bool(value) => Value::Bool(*value),
                Constant::Number(value) => Value::Number(*value),
            }),
            Expr::Text(text) => Ok(Value::Text(self.texts[*text])),
            Expr::Local(slot) => Ok(self.slots[*slot]),
            Expr::Property(object, name) => Ok(self.value(object)?.property(self.texts[*name])?),
            Expr::Element(both) => {
                let object = self.value(&both.0)?;
                let key = self.value(&both.1)?;
                Ok(object.element(key)?)
            }
            Expr::Chain(inner) => match self.value(inner) {
                Err(Stop::Short) => Ok(Value::Undefined),
                value => value,
            },
            Expr::Guard(inner) => {
                let value = self.value(inner)?;
                if value.is_nullish() { Err(Stop::Short) } else { Ok(value) }
            }
            Expr::Record(names) => {
                let base = self.properties.len();
                for (name, expr) in names {
                    let value = self.value(expr)?;
                    self.properties.push(Property { name: self.texts[*name], value });
                }
                self.object(base)
            }
            Expr::Object(parts) => self.literal(parts),
            Expr::Array(items) => {
                let base = self.values.len();
                self.push_items(items)?;
                self.array(base)
            }
            Expr::If(branches) => {
                let [test, then, other] = &**branches;
                let test = self.value(test)?.is_truthy();
                self.value(if test { then } else { other })
            }
            Expr::Logical(operator, both) => {
                let left = self.value(&both.0)?;
                let stays = match operator {
                    Logical::And => !left.is_truthy(),
                    Logical::Or => left.is_truthy(),
                    Logical::Coalesce => !left.is_nullish(),
                };
                if stays { Ok(left) } else { self.value(&both.1) }
            }
            Expr::Unary(operator, inner) => {
                let value = self.value(inner)?;
                Ok(match operator {
                    Unary::Not => Value::Bool(!value.is_truthy()),
                    Unary::Minus => Value::Number(-value.to_number()?),
                    Unary::Plus => Value::Number(value.to_number()?),
                    Unary::BitNot => Value::Number(f64::from(!number::to_u32(value.to_number()?) as i32)),
                    Unary::TypeOf => Value::Text(value.type_of()),
                    Unary::Void => Value::Undefined,
                })
            }
            Expr::Binary(operator, both) => {
                let left = self.value(&both.0)?;
                let right = self.value(&both.1)?;
                self.binary(*operator, left, right)
            }
            Expr::Template(texts, exprs) => {
                let base = self.values.len();
                for expr in exprs {
                    let value = self.value(expr)?;
                    self.values.push(value);
                }
                let mut out = std::mem::take(&mut self.text);
                out.clear();
                out.push_str(self.texts[texts[0]]);
                for (value, text) in self.values[base..].iter().zip(&texts[1..]) {
                    value.write(&mut out)?;
                    out.push_str(self.texts[*text]);
                }
                self.values.truncate(base);
                let kept = self.keep(&out);
                self.text = out;
                kept
            }
            Expr::Call(function, arguments) => match self.apply(*function, arguments)? {
                Some(expr) => self.value(expr),
                None => Ok(Value::Undefined),
            },
            Expr::Each(each, function, both) => {
                let (array, initial) = &**both;
                let array = self.value(array)?;
                self.each(*each, *function, array, initial.as_ref())
            }
            Expr::Method(method, receiver, arguments) => {
                let receiver = self.value(receiver)?;
                let base = self.values.len();
                for argument in arguments {
                    let value = self.value(argument)?;
                    self.values.push(value);
                }
                self.method(*method, receiver, base)
            }
            Expr::Builtin(builtin, arguments) => {
                let base = self.values.len();
                self.push_items(arguments)?;
                self.builtin(*builtin, base)
            }
        }
    }

    /// Evaluates the arguments and runs a function of the module up to what it returns.
    fn apply(&mut self, function: FunctionId, arguments: &'p [Expr]) -> Result<Option<&'p Expr>> {
        let base = self.values.len();
        for argument in arguments {
            let value = self.value(argument)?;
            self.values.push(value);
        }
        self.enter(function, base)
    }

    /// Leaves the elements of an array literal among the values.
    fn push_items(&mut self, items: &'p [Item]) -> Result<()> {
        for item in items {
            match item {
                Item::One(expr) => {
                    let value = self.value(expr)?;
                    self.values.push(value);
                }
                Item::Spread(expr) => {
                    let elements = self.value(expr)?.elements().ok_or(Stop::GiveUp)?;
                    self.spend(elements.len())?;
                    self.values.extend(elements.iter());
                }
            }
        }
        Ok(())
    }

    /// An object literal of parts, of which the later win. Parts are sorted runs; each is merged into those before it.
    fn literal(&mut self, parts: &'p [Part]) -> Result<Value<'a>> {
        let base = self.properties.len();
        for part in parts {
            match part {
                Part::Property(name, expr) => {
                    let value = self.value(expr)?;
                    self.insert(base, Property { name: self.texts[*name], value })?;
                }
                Part::Computed(key, expr) => {
                    let key = self.value(key)?;
                    let value = self.value(expr)?;
                    let name = match key {
                        Value::Text(name) => name,
                        key => {
                            let mut name = String::new();
                            key.write(&mut name)?;
                            self.reserve(name.len())?;
                            self.arena.alloc_str(&name)
                        }
                    };
                    self.insert(base, Property { name, value })?;
                }
                Part::Spread(expr) => match self.value(expr)? {
                    Value::Undefined | Value::Null | Value::Bool(_) | Value::Number(_) => {}
                    Value::Fields(fields) => {
                        let run = fields.iter().map(|f| Property { name: f.name, value: f.value.into() });
                        self.merge(base, run)?;
                    }
                    Value::Object(properties) => self.merge(base, properties.iter().copied())?,
                    Value::Text(_) | Value::Items(_) | Value::Array(_) => return Err(Stop::GiveUp),
                },
            }
        }
        self.object(base)
    }

    /// Adds a property to the sorted ones from a place on.
    fn insert(&mut self, base: usize, property: Property<'a>) -> Result<()> {
        self.spend((self.properties.len() - base) / 16)?;
        match self.properties[base..].binary_search_by(|p| p.name.cmp(property.name)) {
            Ok(at) => self.properties[base + at] = property,
            Err(at) => self.properties.insert(base + at, property),
        }
        Ok(())
    }

    /// Adds a sorted run of properties to the sorted ones from a place on.
    fn merge(&mut self, base: usize, run: impl ExactSizeIterator<Item = Property<'a>>) -> Result<()> {
        self.spend(run.len())?;
        let old_end = self.properties.len();
        if old_end == base {
            self.properties.extend(run);
            return Ok(());
        }
        self.spend(old_end - base)?;
        let mut old = base;
        for property in run {
            while old < old_end && self.properties[old].name < property.name {
                self.properties.push(self.properties[old]);
                old += 1;
            }
            if old < old_end && self.properties[old].name == property.name {
                old += 1;
            }
            self.properties.push(property);
        }
        self.properties.extend_from_within(old..old_end);
        self.properties.drain(base..old_end);
        Ok(())
    }

    fn binary(&mut self, operator: Binary, left: Value<'a>, right: Value<'a>) -> Result<Value<'a>> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        if let (Value::Text(a), Value::Text(b)) = (left, right) {
            self.spend(a.len().min(b.len()) / 16)?;
        }
        let numbers = |f: fn(f64, f64) -> f64| -> Result<Value<'a>> {
            Ok(Value::Number(f(left.to_number()?, right.to_number()?)))
        };
        let bits = |f: fn(u32, u32) -> f64| -> Result<Value<'a>> {
            Ok(Value::Number(f(number::to_u32(left.to_number()?), number::to_u32(right.to_number()?))))
        };
        Ok(match operator {
            Binary::Loose { equal } => Value::Bool(left.is_loosely(right)? == equal),
            Binary::Strict { equal } => Value::Bool(left.is_strictly(right)? == equal),
            Binary::Less => Value::Bool(left.order(right)? == Some(Less)),
            Binary::LessEqual => Value::Bool(matches!(left.order(right)?, Some(Less | Equal))),
            Binary::Greater => Value::Bool(left.order(right)? == Some(Greater)),
            Binary::GreaterEqual => Value::Bool(matches!(left.order(right)?, Some(Greater | Equal))),
            Binary::Add => match (left, right) {
                (Value::Number(a), Value::Number(b)) => Value::Number(a + b),
                (Value::Text(_), _) | (_, Value::Text(_)) => {
                    let mut out = std::mem::take(&mut self.text);
                    out.clear();
                    left.write(&mut out)?;
                    right.write(&mut out)?;
                    let kept = self.keep(&out);
                    self.text = out;
                    kept?
                }
                _ => Value::Number(left.to_number()? + right.to_number()?),
            },
            Binary::Subtract => numbers(|a, b| a - b)?,
            Binary::Multiply => numbers(|a, b| a * b)?,
            Binary::Divide => numbers(|a, b| a / b)?,
            Binary::Remainder => numbers(|a, b| a % b)?,
            Binary::BitAnd => bits(|a, b| f64::from((a & b) as i32))?,
            Binary::BitOr => bits(|a, b| f64::from((a | b) as i32))?,
            Binary::BitXor => bits(|a, b| f64::from((a ^ b) as i32))?,
            Binary::ShiftLeft => bits(|a, b| f64::from((a << (b & 31)) as i32))?,
            Binary::ShiftRight => bits(|a, b| f64::from((a as i32) >> (b & 31)))?,
            Binary::ShiftRightZero => bits(|a, b| f64::from(a >> (b & 31)))?,
            Binary::In => match left {
                Value::Text(name) if right.has_own(name)? => Value::Bool(true),
                // Inherited, or not there at all.
                Value::Text(name) => {
                    right.property(name)?;
                    Value::Bool(false)
                }
                _ => return Err(Stop::GiveUp),
            },
        })
    }

    /// Calls a function for the elements of an array, as its methods do.
    fn each(
        &mut self,
        each: Each,
        function: FunctionId,
        array: Value<'a>,
        initial: Option<&'p Expr>,
    ) -> Result<Value<'a>> {
        let elements = array.elements().ok_or(Stop::GiveUp)?;
        if each == Each::Reduce {
            let initial = initial.ok_or(Stop::GiveUp)?;
            let mut so_far = self.value(initial)?;
            for (at, element) in elements.iter().enumerate() {
                so_far = self.call_back(function, &[so_far, element, Value::Number(at as f64), array])?;
            }
            return Ok(so_far);
        }
        let base = self.values.len();
        for (at, element) in elements.iter().enumerate() {
            let value = self.call_back(function, &[element, Value::Number(at as f64), array])?;
            match each {
                Each::Map => self.values.push(value),
                Each::FlatMap => match value.elements() {
                    Some(inner) => {
                        self.spend(inner.len())?;
                        self.values.extend(inner.iter());
                    }
                    None => self.values.push(value),
                },
                Each::Filter if value.is_truthy() => self.values.push(element),
                Each::Find if value.is_truthy() => return Ok(element),
                Each::FindIndex if value.is_truthy() => return Ok(Value::Number(at as f64)),
                Each::Some if value.is_truthy() => return Ok(Value::Bool(true)),
                Each::Every if !value.is_truthy() => return Ok(Value::Bool(false)),
                _ => {}
            }
        }
        match each {
            Each::Map | Each::FlatMap | Each::Filter => self.array(base),
            Each::Find => Ok(Value::Undefined),
            Each::FindIndex => Ok(Value::Number(-1.0)),
            Each::Some => Ok(Value::Bool(false)),
            Each::Every => Ok(Value::Bool(true)),
            Each::Reduce => Err(Stop::GiveUp),
        }
    }

    /// Calls a function with values; those it has no parameters for are left out.
    fn call_back(&mut self, function: FunctionId, arguments: &[Value<'a>]) -> Result<Value<'a>> {
        self.spend(1)?;
        let base = self.values.len();
        let plan: &'p Plan = self.plan;
        let callee = &plan.functions[function];
        let wanted = if callee.rest.is_some() { arguments.len() } else { callee.parameters.len() };
        self.values.extend_from_slice(&arguments[..wanted.min(arguments.len())]);
        match self.enter(function, base)? {
            Some(expr) => self.value(expr),
            None => Ok(Value::Undefined),
        }
    }
}
