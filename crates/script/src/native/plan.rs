//! What a lambda compiles to: a tree of expressions whose variables are numbered and whose names are interned.
//!
//! No function calls itself, not even by way of others, so each variable of a module has one place for good, and a call needs
//! no frame.

/// The place of a variable.
pub(super) type Slot = usize;
/// A string of the module, by number.
pub(super) type TextId = usize;
/// A function of the module, by number.
pub(super) type FunctionId = usize;

/// All that was compiled of a module.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) texts: Vec<Box<str>>,
    pub(super) functions: Vec<Function>,
    /// How many variables there are.
    pub(super) slots: usize,
}

#[derive(Debug)]
pub(super) struct Function {
    pub(super) parameters: Vec<Pattern>,
    pub(super) rest: Option<Pattern>,
    pub(super) body: Body,
    /// How deep its evaluation nests, calls included.
    pub(super) depth: usize,
}

#[derive(Debug)]
pub(super) enum Body {
    Expression(Expr),
    Statements(Vec<Statement>),
}

/// What takes a value apart into variables.
#[derive(Debug)]
pub(super) enum Pattern {
    Local(Slot),
    Default(Box<(Pattern, Expr)>),
    /// Properties by name, and the variable of all others.
    Object(Vec<(TextId, Pattern)>, Option<Slot>),
    /// Elements by place, and what takes all others.
    Array(Vec<Option<Pattern>>, Option<Box<Pattern>>),
}

#[derive(Debug)]
pub(super) enum Statement {
    Declare(Pattern, Expr),
    Assign(Slot, Expr),
    Expression(Expr),
    If(Expr, Vec<Statement>, Vec<Statement>),
    Switch(Expr, Vec<(Option<Expr>, Vec<Statement>)>),
    Break,
    Return(Expr),
    /// Where a lambda throws, QuickJS says what.
    Throw,
}

#[derive(Debug)]
pub(super) enum Expr {
    Constant(Constant),
    Text(TextId),
    Local(Slot),
    Property(Box<Expr>, TextId),
    Element(Box<(Expr, Expr)>),
    /// Undefined if a [`Expr::Guard`] within finds nothing.
    Chain(Box<Expr>),
    /// What stands before `?.`.
    Guard(Box<Expr>),
    /// An object literal of names known beforehand, sorted.
    Record(Vec<(TextId, Expr)>),
    /// Any other object literal.
    Object(Vec<Part>),
    Array(Vec<Item>),
    If(Box<[Expr; 3]>),
    Logical(Logical, Box<(Expr, Expr)>),
    Unary(Unary, Box<Expr>),
    Binary(Binary, Box<(Expr, Expr)>),
    /// Strings, and the values between them.
    Template(Vec<TextId>, Vec<Expr>),
    Call(FunctionId, Vec<Expr>),
    /// A method of arrays that calls a function for elements; what `reduce` begins with.
    Each(Each, FunctionId, Box<(Expr, Option<Expr>)>),
    Method(Method, Box<Expr>, Vec<Expr>),
    Builtin(Builtin, Vec<Item>),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Constant {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
}

#[derive(Debug)]
pub(super) enum Part {
    Property(TextId, Expr),
    Computed(Expr, Expr),
    Spread(Expr),
}

#[derive(Debug)]
pub(super) enum Item {
    One(Expr),
    Spread(Expr),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Logical {
    And,
    Or,
    Coalesce,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Unary {
    Not,
    Minus,
    Plus,
    BitNot,
    TypeOf,
    Void,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Binary {
    Loose { equal: bool },
    Strict { equal: bool },
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
    ShiftRightZero,
    In,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Each {
    Map,
    FlatMap,
    Filter,
    Find,
    FindIndex,
    Some,
    Every,
    Reduce,
}

/// A method of arrays, of strings, or of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    At,
    CharAt,
    Concat,
    EndsWith,
    Includes,
    IndexOf,
    Join,
    PadEnd,
    PadStart,
    Repeat,
    Slice,
    /// Of an array that nothing else refers to.
    Sort,
    Split,
    StartsWith,
    Substring,
    ToLowerCase,
    ToString,
    ToUpperCase,
    Trim,
    TrimEnd,
    TrimStart,
}

/// A function of the language.
#[derive(Debug, Clone, Copy)]
pub(super) enum Builtin {
    Abs,
    Boolean,
    Ceil,
    Entries,
    Floor,
    IsArray,
    IsFinite,
    IsInteger,
    IsNan,
    Keys,
    Max,
    Min,
    Number,
    ParseInt,
    Round,
    Sign,
    String,
    Trunc,
    Values,
}
