//! Statements.

use oxc_ast::ast::{
    AssignmentExpression, AssignmentOperator, AssignmentTarget, BindingPattern, Expression, SimpleAssignmentTarget,
    Statement, SwitchStatement, UpdateOperator, VariableDeclaration, VariableDeclarationKind,
};

use super::{Compiler, Result, Source, refuse};
use crate::native::plan::{self, Binary, Constant, Expr, Logical, Slot};

impl<'s, 'a> Compiler<'s, 'a> {
    pub(super) fn statements(&mut self, statements: &'s [Statement<'a>]) -> Result<Vec<plan::Statement>> {
        self.depth += 1;
        let mut compiled = Vec::with_capacity(statements.len());
        for statement in statements {
            self.nests(statement, 0)?;
            self.statement(statement, &mut compiled)?;
        }
        self.depth -= 1;
        Ok(compiled)
    }

    fn statement(&mut self, statement: &'s Statement<'a>, out: &mut Vec<plan::Statement>) -> Result<()> {
        match statement {
            Statement::BlockStatement(block) => out.extend(self.statements(&block.body)?),
            Statement::EmptyStatement(_)
            | Statement::TSTypeAliasDeclaration(_)
            | Statement::TSInterfaceDeclaration(_) => {}
            Statement::ExpressionStatement(statement) => out.push(self.effect(&statement.expression)?),
            Statement::IfStatement(branch) => {
                let test = self.expression(&branch.test)?;
                let then = self.statements(std::slice::from_ref(&branch.consequent))?;
                let other = match &branch.alternate {
                    Some(other) => self.statements(std::slice::from_ref(other))?,
                    None => Vec::new(),
                };
                out.push(plan::Statement::If(test, then, other));
            }
            Statement::ReturnStatement(returned) => out.push(plan::Statement::Return(match &returned.argument {
                Some(expression) => self.expression(expression)?,
                None => Expr::Constant(Constant::Undefined),
            })),
            Statement::SwitchStatement(switch) => out.push(self.switch(switch)?),
            // Loops and labels are refused, so it ends a switch.
            Statement::BreakStatement(leave) if leave.label.is_none() => out.push(plan::Statement::Break),
            Statement::ThrowStatement(_) => out.push(plan::Statement::Throw),
            Statement::VariableDeclaration(variables) => self.variables(variables, out)?,
            Statement::ForStatement(_)
            | Statement::ForInStatement(_)
            | Statement::ForOfStatement(_)
            | Statement::WhileStatement(_)
            | Statement::DoWhileStatement(_) => return refuse(statement, "a loop"),
            Statement::TryStatement(_) => return refuse(statement, "`try`"),
            Statement::FunctionDeclaration(_) => return refuse(statement, "a function declared within another"),
            Statement::ClassDeclaration(_) => return refuse(statement, "a class within a function"),
            _ => return refuse(statement, "a statement of this kind"),
        }
        Ok(())
    }

    fn variables(&mut self, variables: &'s VariableDeclaration<'a>, out: &mut Vec<plan::Statement>) -> Result<()> {
        if !matches!(variables.kind, VariableDeclarationKind::Const | VariableDeclarationKind::Let) {
            return refuse(variables, "`var` or `using`");
        }
        for variable in &variables.declarations {
            if let (BindingPattern::BindingIdentifier(id), Some(source)) =
                (&variable.id, variable.init.as_ref().and_then(Source::of))
            {
                if variables.kind != VariableDeclarationKind::Const {
                    return refuse(variable, "a function in a variable that may change");
                }
                let methods = self.methods && matches!(source, Source::Arrow(_));
                let function = self.of_function(source, methods)?;
                if let Some(symbol) = id.symbol_id.get() {
                    self.closures.insert(symbol, function);
                }
                continue;
            }
            let value = match &variable.init {
                Some(init) => self.expression(init)?,
                None => Expr::Constant(Constant::Undefined),
            };
            let pattern = self.pattern(&variable.id)?;
            out.push(plan::Statement::Declare(pattern, value));
        }
        Ok(())
    }

    fn switch(&mut self, switch: &'s SwitchStatement<'a>) -> Result<plan::Statement> {
        let value = self.expression(&switch.discriminant)?;
        let mut cases = Vec::with_capacity(switch.cases.len());
        for case in &switch.cases {
            let declares = case.consequent.iter().find(|s| matches!(s, Statement::VariableDeclaration(_)));
            if let Some(declaration) = declares {
                return refuse(declaration, "a variable of a whole `switch`");
            }
            let test = case.test.as_ref().map(|test| self.expression(test)).transpose()?;
            cases.push((test, self.statements(&case.consequent)?));
        }
        Ok(plan::Statement::Switch(value, cases))
    }

    /// An expression that stands for itself: an assignment to a variable of this function, or one whose value is dropped.
    fn effect(&mut self, expression: &'s Expression<'a>) -> Result<plan::Statement> {
        match expression.get_inner_expression() {
            Expression::AssignmentExpression(assignment) => self.assignment(assignment),
            Expression::UpdateExpression(update) => {
                let SimpleAssignmentTarget::AssignmentTargetIdentifier(id) = &update.argument else {
                    return refuse(&**update, "a change of something that others may see");
                };
                let slot = self.own(id)?;
                // `- -1` makes a number of it first, as `++` does.
                let by = if update.operator == UpdateOperator::Increment { -1.0 } else { 1.0 };
                let both = (Expr::Local(slot), Expr::Constant(Constant::Number(by)));
                Ok(plan::Statement::Assign(slot, Expr::Binary(Binary::Subtract, Box::new(both))))
            }
            inner => Ok(plan::Statement::Expression(self.expression(inner)?)),
        }
    }

    fn assignment(&mut self, assignment: &'s AssignmentExpression<'a>) -> Result<plan::Statement> {
        let slot = match &assignment.left {
            AssignmentTarget::AssignmentTargetIdentifier(id) => self.own(id)?,
            AssignmentTarget::ArrayAssignmentTarget(_) | AssignmentTarget::ObjectAssignmentTarget(_) => {
                return refuse(assignment, "an assignment that takes a value apart");
            }
            _ => return refuse(assignment, "an assignment to something that others may see"),
        };
        let value = self.expression(&assignment.right)?;
        let both = |value| Box::new((Expr::Local(slot), value));
        let value = match assignment.operator {
            AssignmentOperator::Assign => value,
            AssignmentOperator::LogicalAnd => Expr::Logical(Logical::And, both(value)),
            AssignmentOperator::LogicalOr => Expr::Logical(Logical::Or, both(value)),
            AssignmentOperator::LogicalNullish => Expr::Logical(Logical::Coalesce, both(value)),
            operator => {
                let binary = match operator {
                    AssignmentOperator::Addition => Binary::Add,
                    AssignmentOperator::Subtraction => Binary::Subtract,
                    AssignmentOperator::Multiplication => Binary::Multiply,
                    AssignmentOperator::Division => Binary::Divide,
                    AssignmentOperator::Remainder => Binary::Remainder,
                    _ => return refuse(assignment, format!("`{}`", operator.as_str())),
                };
                Expr::Binary(binary, both(value))
            }
        };
        Ok(plan::Statement::Assign(slot, value))
    }

    /// The variable an assignment means. It must be of the function that assigns: expressions have no order otherwise.
    fn own(&mut self, id: &oxc_ast::ast::IdentifierReference<'_>) -> Result<Slot> {
        let symbol = self.symbol(id);
        match symbol.and_then(|symbol| self.slots.get(&symbol)) {
            Some((slot, function)) if *function == self.function => {
                let flags = symbol.map(|symbol| self.semantic.scoping().symbol_flags(symbol));
                if flags.is_some_and(|flags| flags.is_const_variable()) {
                    return refuse(&id.span, "an assignment to a constant");
                }
                Ok(*slot)
            }
            _ => refuse(&id.span, format!("an assignment to `{}`, which is not of this function", id.name)),
        }
    }
}
