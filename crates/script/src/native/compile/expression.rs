//! Expressions. Those that are compiled change nothing, so their parts may be worked out in any order.

use oxc_ast::ast::{
    ArrayExpressionElement, BinaryExpression, BinaryOperator, ChainElement, Expression, LogicalOperator,
    ObjectExpression, ObjectPropertyKind, PropertyKind, TemplateLiteral, UnaryOperator,
};
use oxc_span::GetSpan;

use super::{Compiler, Member, Result, Top, name_of, refuse};
use crate::native::plan::{Binary, Constant, Expr, Item, Logical, Part, Unary};

impl<'s, 'a> Compiler<'s, 'a> {
    pub(super) fn expression(&mut self, expression: &'s Expression<'a>) -> Result<Expr> {
        self.depth += 1;
        self.nests(expression, 0)?;
        let compiled = self.inner(expression.get_inner_expression());
        self.depth -= 1;
        compiled
    }

    fn inner(&mut self, expression: &'s Expression<'a>) -> Result<Expr> {
        let two = |left, right| Box::new((left, right));
        Ok(match expression {
            Expression::BooleanLiteral(value) => Expr::Constant(Constant::Bool(value.value)),
            Expression::NullLiteral(_) => Expr::Constant(Constant::Null),
            Expression::NumericLiteral(number) => Expr::Constant(Constant::Number(number.value)),
            Expression::StringLiteral(text) if !text.lone_surrogates => Expr::Text(self.text(text.value.as_str())),
            Expression::TemplateLiteral(template) => self.template(template)?,
            Expression::Identifier(id) => self.identifier(id)?,
            Expression::ArrayExpression(array) => {
                let mut items = Vec::with_capacity(array.elements.len());
                for element in &array.elements {
                    items.push(match element {
                        ArrayExpressionElement::SpreadElement(spread) => {
                            Item::Spread(self.expression(&spread.argument)?)
                        }
                        ArrayExpressionElement::Elision(_) => return refuse(&**array, "an array with holes"),
                        element => Item::One(self.expression(element.to_expression())?),
                    });
                }
                Expr::Array(items)
            }
            Expression::ObjectExpression(object) => self.object(object)?,
            Expression::ConditionalExpression(branches) => Expr::If(Box::new([
                self.expression(&branches.test)?,
                self.expression(&branches.consequent)?,
                self.expression(&branches.alternate)?,
            ])),
            Expression::LogicalExpression(logical) => {
                let operator = match logical.operator {
                    LogicalOperator::And => Logical::And,
                    LogicalOperator::Or => Logical::Or,
                    LogicalOperator::Coalesce => Logical::Coalesce,
                };
                Expr::Logical(operator, two(self.expression(&logical.left)?, self.expression(&logical.right)?))
            }
            Expression::BinaryExpression(binary) => {
                let operator = operator(binary)?;
                Expr::Binary(operator, two(self.expression(&binary.left)?, self.expression(&binary.right)?))
            }
            Expression::UnaryExpression(unary) => {
                let operator = match unary.operator {
                    UnaryOperator::LogicalNot => Unary::Not,
                    UnaryOperator::UnaryNegation => Unary::Minus,
                    UnaryOperator::UnaryPlus => Unary::Plus,
                    UnaryOperator::BitwiseNot => Unary::BitNot,
                    UnaryOperator::Typeof => Unary::TypeOf,
                    UnaryOperator::Void => Unary::Void,
                    UnaryOperator::Delete => return refuse(&**unary, "`delete`"),
                };
                Expr::Unary(operator, Box::new(self.expression(&unary.argument)?))
            }
            Expression::ChainExpression(chain) => {
                let inner = match &chain.expression {
                    ChainElement::CallExpression(call) => self.call(call)?,
                    ChainElement::TSNonNullExpression(inner) => self.expression(&inner.expression)?,
                    ChainElement::StaticMemberExpression(member) => {
                        let object = self.guarded(&member.object, member.optional)?;
                        Expr::Property(Box::new(object), self.text(member.property.name.as_str()))
                    }
                    ChainElement::ComputedMemberExpression(member) => {
                        let object = self.guarded(&member.object, member.optional)?;
                        Expr::Element(two(object, self.expression(&member.expression)?))
                    }
                    ChainElement::PrivateFieldExpression(member) => return refuse(&**member, "`?.#`"),
                };
                Expr::Chain(Box::new(inner))
            }
            Expression::CallExpression(call) => self.call(call)?,
            Expression::StaticMemberExpression(member) => {
                if let Expression::ThisExpression(this) = member.object.get_inner_expression() {
                    return self.of_this(&**this, member.property.name.as_str());
                }
                let object = self.guarded(&member.object, member.optional)?;
                Expr::Property(Box::new(object), self.text(member.property.name.as_str()))
            }
            Expression::ComputedMemberExpression(member) => {
                let object = self.guarded(&member.object, member.optional)?;
                Expr::Element(two(object, self.expression(&member.expression)?))
            }
            Expression::PrivateFieldExpression(member) => {
                if let Expression::ThisExpression(this) = member.object.get_inner_expression() {
                    return self.of_this(&**this, &format!("#{}", member.field.name));
                }
                return refuse(&**member, "a private property");
            }
            Expression::AssignmentExpression(_) | Expression::UpdateExpression(_) => {
                return refuse(expression, "an assignment within an expression");
            }
            Expression::ArrowFunctionExpression(_) | Expression::FunctionExpression(_) => {
                return refuse(expression, "a function as a value");
            }
            Expression::NewExpression(_) => return refuse(expression, "`new`"),
            Expression::RegExpLiteral(_) => return refuse(expression, "a regular expression"),
            Expression::ThisExpression(_) => return refuse(expression, "`this` as a value"),
            Expression::SequenceExpression(_) => return refuse(expression, "a comma between expressions"),
            Expression::AwaitExpression(_) => return refuse(expression, "`await`"),
            Expression::BigIntLiteral(_) => return refuse(expression, "a BigInt"),
            Expression::StringLiteral(_) => return refuse(expression, "a string with half a character"),
            Expression::TaggedTemplateExpression(_) => return refuse(expression, "a tagged template"),
            Expression::ClassExpression(_) => return refuse(expression, "a class within a function"),
            _ => return refuse(expression, "an expression of this kind"),
        })
    }

    /// What stands before `.`, or before `?.`.
    pub(super) fn guarded(&mut self, object: &'s Expression<'a>, optional: bool) -> Result<Expr> {
        let object = self.expression(object)?;
        Ok(if optional { Expr::Guard(Box::new(object)) } else { object })
    }

    fn identifier(&mut self, id: &'s oxc_ast::ast::IdentifierReference<'a>) -> Result<Expr> {
        let Some(symbol) = self.symbol(id) else {
            return match id.name.as_str() {
                "undefined" => Ok(Expr::Constant(Constant::Undefined)),
                "NaN" => Ok(Expr::Constant(Constant::Number(f64::NAN))),
                "Infinity" => Ok(Expr::Constant(Constant::Number(f64::INFINITY))),
                name => refuse(&id.span, format!("`{name}`")),
            };
        };
        if let Some((slot, _)) = self.slots.get(&symbol) {
            return Ok(Expr::Local(*slot));
        }
        match self.top.get(&symbol) {
            Some(Top::Constant(literal)) => {
                let literal = *literal;
                Ok(self.constant(literal))
            }
            Some(Top::Function(_)) => refuse(&id.span, "a function as a value"),
            None => refuse(&id.span, format!("`{}`, which is no constant of the module", id.name)),
        }
    }

    fn of_this(&mut self, at: &impl GetSpan, name: &str) -> Result<Expr> {
        if !self.methods {
            return refuse(at, "`this` outside of a method");
        }
        match self.class.members.get(name) {
            Some(Member::Constant(literal)) => {
                let literal = *literal;
                Ok(self.constant(literal))
            }
            _ => refuse(at, format!("`this.{name}`, which is no constant")),
        }
    }

    fn template(&mut self, template: &'s TemplateLiteral<'a>) -> Result<Expr> {
        let mut texts = Vec::with_capacity(template.quasis.len());
        for quasi in &template.quasis {
            match &quasi.value.cooked {
                Some(cooked) if !quasi.lone_surrogates => texts.push(self.text(cooked.as_str())),
                _ => return refuse(quasi, "a string with half a character"),
            }
        }
        let exprs = template.expressions.iter().map(|e| self.expression(e)).collect::<Result<Vec<_>>>()?;
        Ok(Expr::Template(texts, exprs))
    }

    fn object(&mut self, object: &'s ObjectExpression<'a>) -> Result<Expr> {
        let mut parts = Vec::with_capacity(object.properties.len());
        for property in &object.properties {
            match property {
                ObjectPropertyKind::SpreadProperty(spread) => {
                    parts.push(Part::Spread(self.expression(&spread.argument)?));
                }
                ObjectPropertyKind::ObjectProperty(property) => {
                    if property.kind != PropertyKind::Init || property.method {
                        return refuse(&**property, "a getter, setter or method");
                    }
                    if property.computed {
                        let key = self.expression(property.key.to_expression())?;
                        parts.push(Part::Computed(key, self.expression(&property.value)?));
                        continue;
                    }
                    let Some(name) = name_of(&property.key) else {
                        return refuse(&property.key, "a property of such a name");
                    };
                    if name == "__proto__" && !property.shorthand {
                        return refuse(&property.key, "a prototype");
                    }
                    let name = self.text(&name);
                    parts.push(Part::Property(name, self.expression(&property.value)?));
                }
            }
        }
        let texts = &self.plan.texts;
        let name_at = |part: &Part| if let Part::Property(name, _) = part { Some(*name) } else { None };
        let mut names: Vec<_> = parts.iter().filter_map(name_at).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < parts.len() {
            return Ok(Expr::Object(parts));
        }
        parts.sort_by_key(|part| name_at(part).map(|name| texts[name].clone()));
        let record = parts.into_iter().filter_map(|part| match part {
            Part::Property(name, expr) => Some((name, expr)),
            _ => None,
        });
        Ok(Expr::Record(record.collect()))
    }
}

fn operator(binary: &BinaryExpression<'_>) -> Result<Binary> {
    Ok(match binary.operator {
        BinaryOperator::Equality => Binary::Loose { equal: true },
        BinaryOperator::Inequality => Binary::Loose { equal: false },
        BinaryOperator::StrictEquality => Binary::Strict { equal: true },
        BinaryOperator::StrictInequality => Binary::Strict { equal: false },
        BinaryOperator::LessThan => Binary::Less,
        BinaryOperator::LessEqualThan => Binary::LessEqual,
        BinaryOperator::GreaterThan => Binary::Greater,
        BinaryOperator::GreaterEqualThan => Binary::GreaterEqual,
        BinaryOperator::Addition => Binary::Add,
        BinaryOperator::Subtraction => Binary::Subtract,
        BinaryOperator::Multiplication => Binary::Multiply,
        BinaryOperator::Division => Binary::Divide,
        BinaryOperator::Remainder => Binary::Remainder,
        BinaryOperator::BitwiseAnd => Binary::BitAnd,
        BinaryOperator::BitwiseOR => Binary::BitOr,
        BinaryOperator::BitwiseXOR => Binary::BitXor,
        BinaryOperator::ShiftLeft => Binary::ShiftLeft,
        BinaryOperator::ShiftRight => Binary::ShiftRight,
        BinaryOperator::ShiftRightZeroFill => Binary::ShiftRightZero,
        BinaryOperator::In => Binary::In,
        BinaryOperator::Exponential => return refuse(binary, "`**`"),
        BinaryOperator::Instanceof => return refuse(binary, "`instanceof`"),
    })
}
