//! Calls: of functions of the module, of methods of its class, of arrays' and strings' methods, of functions of the language.

use oxc_ast::ast::{CallExpression, Expression};

use super::{Compiler, Member, Result, Source, Top, refuse};
use crate::native::plan::{Builtin, Each, Expr, FunctionId, Item, Method};

impl<'s, 'a> Compiler<'s, 'a> {
    pub(super) fn call(&mut self, call: &'s CallExpression<'a>) -> Result<Expr> {
        if call.optional {
            return refuse(call, "`?.()`");
        }
        match call.callee.get_inner_expression() {
            Expression::Identifier(id) => {
                let Some(symbol) = self.symbol(id) else {
                    let builtin = match id.name.as_str() {
                        "Boolean" => Builtin::Boolean,
                        "Number" => Builtin::Number,
                        "String" => Builtin::String,
                        "parseInt" => Builtin::ParseInt,
                        name => return refuse(call, format!("`{name}()`")),
                    };
                    return self.builtin(builtin, call);
                };
                match self.named(symbol)? {
                    Some(function) => self.function_call(function, call),
                    None => refuse(call, format!("`{}()`, which is no function of the module", id.name)),
                }
            }
            Expression::StaticMemberExpression(member) => {
                let name = member.property.name.as_str();
                match member.object.get_inner_expression() {
                    Expression::ThisExpression(_) => self.method_call(name.to_owned(), call),
                    Expression::Identifier(id) if self.symbol(id).is_none() && !is_value(id.name.as_str()) => {
                        match builtin(id.name.as_str(), name) {
                            Some(builtin) => self.builtin(builtin, call),
                            None => refuse(call, format!("`{}.{name}()`", id.name)),
                        }
                    }
                    object => {
                        let fresh = is_fresh(object);
                        let receiver = self.guarded(&member.object, member.optional)?;
                        self.receiver_call(receiver, fresh, name, call)
                    }
                }
            }
            Expression::PrivateFieldExpression(member) => match member.object.get_inner_expression() {
                Expression::ThisExpression(_) => self.method_call(format!("#{}", member.field.name), call),
                _ => refuse(call, "a private method of something else"),
            },
            _ => refuse(call, "a call of what is no name"),
        }
    }

    /// The function a name means.
    fn named(&mut self, symbol: oxc_semantic::SymbolId) -> Result<Option<FunctionId>> {
        if let Some(function) = self.closures.get(&symbol) {
            return Ok(Some(*function));
        }
        match self.top.get(&symbol) {
            Some(Top::Function(source)) => {
                let source = *source;
                self.of_function(source, false).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn function_call(&mut self, function: FunctionId, call: &'s CallExpression<'a>) -> Result<Expr> {
        self.calls(call, function)?;
        Ok(Expr::Call(function, self.arguments(&call.arguments)?))
    }

    fn method_call(&mut self, name: String, call: &'s CallExpression<'a>) -> Result<Expr> {
        if !self.methods {
            return refuse(call, "`this` outside of a method");
        }
        match self.class.members.get(&name) {
            Some(Member::Method(method)) => {
                let method = *method;
                let function = self.method(method)?;
                self.function_call(function, call)
            }
            _ => refuse(call, format!("`this.{name}()`, which is no method of the class")),
        }
    }

    /// A method of arrays or strings.
    fn receiver_call(&mut self, receiver: Expr, fresh: bool, name: &str, call: &'s CallExpression<'a>) -> Result<Expr> {
        let each = match name {
            "map" => Some(Each::Map),
            "flatMap" => Some(Each::FlatMap),
            "filter" => Some(Each::Filter),
            "find" => Some(Each::Find),
            "findIndex" => Some(Each::FindIndex),
            "some" => Some(Each::Some),
            "every" => Some(Each::Every),
            "reduce" => Some(Each::Reduce),
            _ => None,
        };
        if let Some(each) = each {
            let wanted = if each == Each::Reduce { 2 } else { 1 };
            if call.arguments.len() != wanted {
                return refuse(call, format!("`{name}()` with other than {wanted} arguments"));
            }
            let Some(callback) = call.arguments[0].as_expression() else { return refuse(call, "`...` in this call") };
            let function = match (Source::of(callback), callback.get_inner_expression()) {
                (Some(source), _) => {
                    let methods = self.methods && matches!(source, Source::Arrow(_));
                    self.of_function(source, methods)?
                }
                (None, Expression::Identifier(id)) => {
                    match self.symbol(id).map(|s| self.named(s)).transpose()?.flatten() {
                        Some(function) => function,
                        None => return refuse(callback, format!("`{}` called for elements", id.name)),
                    }
                }
                _ => return refuse(callback, "a function that is no name"),
            };
            self.calls(call, function)?;
            let initial = match call.arguments.get(1) {
                Some(argument) => match argument.as_expression() {
                    Some(expression) => Some(self.expression(expression)?),
                    None => return refuse(argument, "`...` in this call"),
                },
                None => None,
            };
            return Ok(Expr::Each(each, function, Box::new((receiver, initial))));
        }
        let (method, most) = match name {
            "at" => (Method::At, 1),
            "charAt" => (Method::CharAt, 1),
            "concat" => (Method::Concat, usize::MAX),
            "endsWith" => (Method::EndsWith, 1),
            "includes" => (Method::Includes, 1),
            "indexOf" => (Method::IndexOf, 1),
            "join" => (Method::Join, 1),
            "padEnd" => (Method::PadEnd, 2),
            "padStart" => (Method::PadStart, 2),
            "repeat" => (Method::Repeat, 1),
            "slice" => (Method::Slice, 2),
            "sort" if fresh => (Method::Sort, 0),
            "sort" => return refuse(call, "`sort()`, which changes an array that others may see"),
            "split" => (Method::Split, 1),
            "startsWith" => (Method::StartsWith, 1),
            "substring" => (Method::Substring, 2),
            "toLowerCase" => (Method::ToLowerCase, 0),
            "toString" => (Method::ToString, 0),
            "toUpperCase" => (Method::ToUpperCase, 0),
            "trim" => (Method::Trim, 0),
            "trimEnd" => (Method::TrimEnd, 0),
            "trimStart" => (Method::TrimStart, 0),
            _ => return refuse(call, format!("`.{name}()`")),
        };
        if call.arguments.len() > most {
            return refuse(call, format!("`.{name}()` with more than {most} arguments"));
        }
        Ok(Expr::Method(method, Box::new(receiver), self.arguments(&call.arguments)?))
    }

    fn builtin(&mut self, builtin: Builtin, call: &'s CallExpression<'a>) -> Result<Expr> {
        let mut items = Vec::with_capacity(call.arguments.len());
        for argument in &call.arguments {
            items.push(match argument {
                oxc_ast::ast::Argument::SpreadElement(spread) => Item::Spread(self.expression(&spread.argument)?),
                argument => Item::One(self.expression(argument.to_expression())?),
            });
        }
        Ok(Expr::Builtin(builtin, items))
    }
}

/// Names of the language that are values.
fn is_value(name: &str) -> bool {
    matches!(name, "undefined" | "NaN" | "Infinity")
}

fn builtin(object: &str, name: &str) -> Option<Builtin> {
    Some(match (object, name) {
        ("Object", "keys") => Builtin::Keys,
        ("Object", "values") => Builtin::Values,
        ("Object", "entries") => Builtin::Entries,
        ("Array", "isArray") => Builtin::IsArray,
        ("Number", "isInteger") => Builtin::IsInteger,
        ("Number", "isFinite") => Builtin::IsFinite,
        ("Number", "isNaN") => Builtin::IsNan,
        ("Number", "parseInt") => Builtin::ParseInt,
        ("Math", "abs") => Builtin::Abs,
        ("Math", "ceil") => Builtin::Ceil,
        ("Math", "floor") => Builtin::Floor,
        ("Math", "max") => Builtin::Max,
        ("Math", "min") => Builtin::Min,
        ("Math", "round") => Builtin::Round,
        ("Math", "sign") => Builtin::Sign,
        ("Math", "trunc") => Builtin::Trunc,
        _ => return None,
    })
}

/// Whether nothing else can refer to the array an expression makes.
fn is_fresh(expression: &Expression<'_>) -> bool {
    let Expression::CallExpression(call) = expression else {
        return matches!(expression, Expression::ArrayExpression(_));
    };
    let Expression::StaticMemberExpression(member) = call.callee.get_inner_expression() else { return false };
    // A method of the class may return what it was given.
    if let Expression::ThisExpression(_) = member.object.get_inner_expression() {
        return false;
    }
    let made = ["keys", "values", "entries", "map", "flatMap", "filter", "slice", "concat", "split", "sort"];
    made.contains(&member.property.name.as_str())
}
