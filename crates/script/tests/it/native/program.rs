//! Random classes of the compiled part of TypeScript, and random documents for them.

use doc::{Arena, Field, Node};

use crate::identity::Numbers;

/// Names of properties, in programs and in documents.
const NAMES: &[&str] =
    &["a", "b", "c", "d", "n", "xs", "é", "10", "2", "02", "length", "toString", "__proto__", "\u{ffff}", "😀"];
/// Those that can be written as identifiers.
const IDENTIFIERS: usize = 6;
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "(-1)",
    "(-0)",
    "0.1",
    "1.5",
    "(-2.5)",
    "1e21",
    "1e-7",
    "123456789.125",
    "9007199254740993",
    "2147483648",
    "1e300",
    "NaN",
    "Infinity",
    "4503599627370497.5",
    "0.000001",
    "123456789012345680",
];
const TEXTS: &[&str] = &[
    "",
    "a",
    "b",
    "10",
    "2",
    " 7 ",
    "1e3",
    "0x10",
    "-0",
    "é",
    "😀",
    "\u{ffff}",
    "aXbXc",
    "Infinity",
    ".5",
    "5.",
    "null",
    "\u{feff}1\u{a0}",
    "1_0",
    "toString",
    "Ab",
    "a,b",
    "\u{2028}",
    "00012",
];

/// A class `T`.
pub(super) struct Class {
    pub(super) text: String,
    /// The text of each method.
    pub(super) methods: Vec<String>,
}

struct Author<'n> {
    numbers: &'n mut Numbers,
    /// Variables in scope.
    variables: Vec<String>,
    /// Those that may be assigned to here.
    changing: Vec<String>,
    fresh: usize,
    /// Functions of the module that may be called here, without recursion.
    helpers: usize,
    methods: bool,
}

pub(super) fn class(numbers: &mut Numbers, names: &[&str]) -> Class {
    let mut author =
        Author { numbers, variables: Vec::new(), changing: Vec::new(), fresh: 0, helpers: 0, methods: false };
    let mut text = String::from("const K = 'k', L = -7;\n");
    for n in 0..3 {
        author.variables = vec!["x".to_owned(), "y".to_owned()];
        let body = author.body(2, false);
        text += &match n {
            1 => format!("const h{n} = (x: any, y: any = {{}}): any => {{ {body} }};\n"),
            _ => format!("function h{n}(x: any, ...y: any[]): any {{ {body} }}\n"),
        };
        author.helpers += 1;
    }
    author.methods = true;
    text += "export class T {\n  private readonly one = 1; #two = 'two';\n";
    text += "  #p(x: any, y: any): any { return [x, { y }, this.one]; }\n";
    let mut methods = Vec::new();
    for name in names {
        author.variables = vec!["s".to_owned(), "s".to_owned()];
        let parameter = match author.below(4) {
            0 => {
                author.variables.extend(["a", "n", "rest"].map(str::to_owned));
                "{ a, n = 5, ...rest }: any, s: any = { a, xs: [n] }"
            }
            _ => "s: any",
        };
        let body = author.body(3, true);
        let method = format!("  {name}({parameter}): any[] {{ {body} }}\n");
        text += &method;
        methods.push(method);
    }
    text += "}\n";
    Class { text, methods }
}

impl Author<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.numbers.below(n as u64) as usize
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        let at = self.below(from.len());
        from[at]
    }

    fn quoted(text: &str) -> String {
        serde_json::to_string(text).unwrap()
    }

    fn text(&mut self) -> String {
        let text = self.pick(TEXTS);
        Self::quoted(text)
    }

    fn variable(&mut self) -> String {
        let at = self.below(self.variables.len());
        self.variables[at].clone()
    }

    fn new_variable(&mut self) -> String {
        self.fresh += 1;
        format!("v{}", self.fresh)
    }

    /// The first parameter.
    fn root(&self) -> &'static str {
        if self.methods { "s" } else { "x" }
    }

    fn identifier(&mut self) -> &'static str {
        self.pick(&NAMES[..IDENTIFIERS])
    }

    /// Statements that end with a return.
    fn body(&mut self, depth: usize, rows: bool) -> String {
        let outer = (self.variables.clone(), std::mem::take(&mut self.changing));
        let mut text = String::new();
        for _ in 0..self.below(3) {
            text += &self.statement(depth, rows);
        }
        text += &self.returned(depth, rows);
        (self.variables, self.changing) = outer;
        text
    }

    fn returned(&mut self, depth: usize, rows: bool) -> String {
        if !rows {
            return format!("return {};", self.expr(depth));
        }
        match self.below(8) {
            0 => format!("return {}.map((v: any) => ({{ v, w: {} }}));", self.array(depth - 1), self.expr(depth - 1)),
            1 => format!("return {} ? [{}] : [];", self.expr(depth - 1), self.expr(depth)),
            2 => format!("return {};", self.array(depth)),
            _ => {
                let items: Vec<String> = (0..=self.below(2)).map(|_| self.expr(depth)).collect();
                format!("return [{}];", items.join(", "))
            }
        }
    }

    fn statement(&mut self, depth: usize, rows: bool) -> String {
        match self.below(8) {
            0 | 1 => {
                let value = self.expr(depth);
                let name = self.new_variable();
                self.variables.push(name.clone());
                if self.below(2) == 0 {
                    self.changing.push(name.clone());
                    return format!("let {name} = {value}; ");
                }
                format!("const {name} = {value}; ")
            }
            2 => {
                let value = self.expr(depth - 1);
                let (one, two) = (self.new_variable(), self.new_variable());
                let default = self.expr(1);
                let (name, other) = (self.identifier(), Self::quoted(self.name()));
                self.variables.extend([one.clone(), two.clone()]);
                format!(
                    "const {{ {name}: {one} = {default}, {other}: {{}} = {{}}, ...{two} }} = typeof {value} === 'object' ? {value} : {}; ",
                    self.root()
                )
            }
            3 => {
                let value = self.array(depth - 1);
                let (one, two) = (self.new_variable(), self.new_variable());
                self.variables.extend([one.clone(), two.clone()]);
                format!("const [{one} = 1, , ...{two}] = {value}; ")
            }
            4 if !self.changing.is_empty() => {
                let at = self.below(self.changing.len());
                let name = self.changing[at].clone();
                let operator = self.pick(&["=", "+=", "-=", "*=", "??=", "||=", "&&=", "/=", "%="]);
                match self.below(4) {
                    0 => format!("{name}++; "),
                    1 => format!("--{name}; "),
                    _ => format!("{name} {operator} {}; ", self.expr(depth - 1)),
                }
            }
            5 => {
                let test = self.expr(depth - 1);
                let kept = self.variables.clone();
                let then = if depth > 1 { self.returned(depth - 1, rows) } else { String::new() };
                self.variables = kept;
                format!("if ({test}) {{ {then} }} ")
            }
            6 => {
                let value = self.expr(depth - 1);
                let (one, two) = (self.expr(1), self.expr(1));
                let returned = self.returned(depth.max(2) - 1, rows);
                let stop = self.pick(&["break;", ""]);
                format!("switch ({value}) {{ case {one}: {stop} case {two}: {returned} default: }} ")
            }
            _ => {
                let name = self.new_variable();
                let outer = (self.variables.clone(), std::mem::take(&mut self.changing));
                self.variables.push("x".to_owned());
                let body = self.expr(depth - 1);
                (self.variables, self.changing) = outer;
                let called = format!("const {name} = (x: any) => {body}; ");
                let argument = self.expr(depth - 1);
                let result = self.new_variable();
                self.variables.push(result.clone());
                format!("{called}const {result} = {name}({argument}); ")
            }
        }
    }

    fn name(&mut self) -> &'static str {
        self.pick(NAMES)
    }

    /// An expression that is an array, most often.
    fn array(&mut self, depth: usize) -> String {
        match self.below(6) {
            0 => {
                let variable = self.variable();
                format!("({variable}?.xs ?? [])")
            }
            1 => {
                let value = self.expr(depth.max(1) - 1);
                format!("[{value}].concat({})", self.variable())
            }
            2 => {
                let variable = self.variable();
                let function = self.pick(&["keys", "values", "entries"]);
                let sorted = if function == "keys" { self.pick(&["", ".sort()"]) } else { "" };
                format!("Object.{function}({variable} ?? {}){sorted}", self.root())
            }
            3 => {
                let value = self.expr(depth.max(1) - 1);
                format!("(Array.isArray({value}) ? {value} : [1, {value}])")
            }
            4 => format!("`${{{}}}`.split({})", self.scalar(depth), self.text()),
            _ => {
                let items: Vec<String> = (0..self.below(3)).map(|_| self.expr(depth.max(1) - 1)).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }

    /// An expression that is neither object nor array, most often.
    fn scalar(&mut self, depth: usize) -> String {
        match self.below(9) {
            0 => self.pick(NUMBERS).to_owned(),
            1 => self.text(),
            2 => self.pick(&["true", "false", "null", "undefined"]).to_owned(),
            3 if self.methods => self.pick(&["this.one", "this.#two"]).to_owned(),
            4 | 5 => format!("{}?.{}", self.variable(), self.identifier()),
            6 if depth > 0 => {
                let function = self.pick(&[
                    "Number",
                    "String",
                    "Boolean",
                    "Math.abs",
                    "Math.floor",
                    "Math.ceil",
                    "Math.round",
                    "Math.trunc",
                    "Math.sign",
                    "parseInt",
                    "Number.isInteger",
                    "Number.isFinite",
                    "Number.isNaN",
                ]);
                format!("{function}({})", self.scalar(depth - 1))
            }
            7 if depth > 0 => {
                let function = self.pick(&["max", "min"]);
                format!("Math.{function}({}, {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            8 => self.pick(&["K", "L", "0", "1", "2", "'a'"]).to_owned(),
            _ => self.pick(NUMBERS).to_owned(),
        }
    }

    fn expr(&mut self, depth: usize) -> String {
        if depth == 0 {
            return match self.below(3) {
                0 => self.variable(),
                _ => self.scalar(0),
            };
        }
        let inner = depth - 1;
        match self.below(24) {
            0 | 1 => self.scalar(depth),
            2 => self.variable(),
            3 => format!("{}?.[{}]", self.variable(), self.scalar(0)),
            4 => format!("({})[{}]", self.expr(inner), self.scalar(0)),
            5 => format!("{}?.{}.{}", self.variable(), self.identifier(), self.identifier()),
            6 | 7 => self.object(inner),
            8 => {
                let spread = self.array(inner);
                format!("[{}, ...{spread}]", self.expr(inner))
            }
            9 => self.array(inner),
            10 => format!("({} ? {} : {})", self.expr(inner), self.expr(inner), self.expr(inner)),
            11 => {
                let operator = self.pick(&["&&", "||", "??"]);
                format!("({} {operator} {})", self.expr(inner), self.expr(inner))
            }
            12 | 13 => {
                let operator = self.pick(&["+", "+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", ">>>"]);
                format!("({} {operator} {})", self.scalar(inner), self.scalar(inner))
            }
            14 | 15 => {
                let operator = self.pick(&["==", "!=", "===", "!==", "<", "<=", ">", ">="]);
                let operand = |author: &mut Self| match author.below(4) {
                    0 => author.expr(inner),
                    _ => author.scalar(inner),
                };
                format!("({} {operator} {})", operand(self), operand(self))
            }
            16 => {
                let operator = self.pick(&["!", "-", "+", "~", "typeof ", "void "]);
                format!("({operator}({}))", self.scalar(inner))
            }
            17 => format!("`<${{{}}}|${{{}}}>`", self.scalar(inner), self.scalar(inner)),
            18 => {
                let name = self.name();
                format!("({} in {})", Self::quoted(name), self.object(inner))
            }
            19 | 20 => self.callback(inner),
            21 => self.text_method(inner),
            22 => {
                let array = self.array(inner);
                let method = match self.below(7) {
                    0 => format!(
                        "slice({}, {})",
                        self.pick(&["0", "1", "-2", "undefined", "NaN"]),
                        self.pick(&["9", "-1", "undefined", "1.7"])
                    ),
                    1 => format!("includes({})", self.scalar(inner)),
                    2 => format!("indexOf({})", self.scalar(inner)),
                    3 => format!("join({})", self.text()),
                    4 => format!("at({})", self.scalar(0)),
                    5 => format!("concat({}, {})", self.expr(inner), self.array(inner)),
                    _ => return format!("{array}.length"),
                };
                format!("{array}.{method}")
            }
            _ => match self.below(4) {
                0 if self.methods => format!("this.#p({}, {})", self.expr(inner), self.expr(inner)),
                1 if self.helpers > 0 => {
                    let helper = self.below(self.helpers);
                    format!("h{helper}({}, {})", self.expr(inner), self.expr(inner))
                }
                2 => format!("({} as any)!", self.expr(inner)),
                _ => format!("({} satisfies any)", self.expr(inner)),
            },
        }
    }

    fn object(&mut self, depth: usize) -> String {
        let mut parts = Vec::new();
        let mut names = Vec::new();
        for _ in 0..=self.below(3) {
            let part = match self.below(7) {
                0 => format!("...{}", self.variable()),
                1 => format!("...({})", self.expr(depth)),
                2 => format!("[{}]: {}", self.scalar(0), self.expr(depth)),
                3 => self.variable(),
                _ => {
                    let name = self.name();
                    if name == "__proto__" {
                        continue;
                    }
                    format!("{}: {}", Self::quoted(name), self.expr(depth))
                }
            };
            let name = part.split(':').next().unwrap_or_default().to_owned();
            if !names.contains(&name) {
                names.push(name);
                parts.push(part);
            }
        }
        format!("({{ {} }})", parts.join(", "))
    }

    fn callback(&mut self, depth: usize) -> String {
        let array = self.array(depth);
        let outer = (self.variables.clone(), std::mem::take(&mut self.changing));
        let method = self.pick(&["map", "map", "filter", "find", "findIndex", "some", "every", "flatMap", "reduce"]);
        let (one, two) = (self.new_variable(), self.new_variable());
        self.variables.extend([one.clone(), two.clone(), one.clone()]);
        let body = match self.below(4) {
            0 if depth > 0 => format!("{{ {} }}", self.body(depth, false)),
            _ => format!("({})", self.expr(depth)),
        };
        let function = match self.below(4) {
            0 => format!(
                "function ({one}: any, {two}: any) {{ return {}; }}",
                if self.methods { one.clone() } else { two.clone() }
            ),
            _ => format!("({one}: any, {two}: any) => {body}"),
        };
        (self.variables, self.changing) = outer;
        let initial = if method == "reduce" { format!(", {}", self.scalar(0)) } else { String::new() };
        format!("{array}.{method}({function}{initial})")
    }

    fn text_method(&mut self, depth: usize) -> String {
        let text = match self.below(3) {
            0 => self.text(),
            1 => format!("String({})", self.scalar(depth)),
            _ => format!("`${{{}}}{}`", self.scalar(depth), self.pick(&["x", "é", "😀y", ""])),
        };
        let number = self.pick(&["0", "1", "-1", "2", "-3", "NaN", "1.9", "Infinity", "undefined"]);
        let other = self.pick(&["0", "1", "-1", "3", "undefined", "7"]);
        let sought = self.text();
        let method = match self.below(16) {
            0 => format!("slice({number}, {other})"),
            1 => format!("substring({number}, {other})"),
            2 => format!("startsWith({sought})"),
            3 => format!("endsWith({sought})"),
            4 => format!("includes({sought})"),
            5 => format!("indexOf({sought})"),
            6 => format!("padStart({other}, {sought})"),
            7 => format!("padEnd({other})"),
            8 => "toUpperCase()".to_owned(),
            9 => "toLowerCase()".to_owned(),
            10 => "trim()".to_owned(),
            11 => self.pick(&["trimStart()", "trimEnd()", "toString()"]).to_owned(),
            12 => format!("charAt({number})"),
            13 => format!("concat({sought})"),
            14 => format!("repeat({other})"),
            _ => return format!("{text}.length"),
        };
        format!("{text}.{method}")
    }
}

/// A random document: most often an object with the properties programs look for.
pub(super) fn document<'a>(numbers: &mut Numbers, arena: &'a Arena, depth: u64) -> Node<'a> {
    let text = |numbers: &mut Numbers| TEXTS[numbers.below(TEXTS.len() as u64) as usize];
    let kind = if depth == 4 { 8 + numbers.below(20) } else { numbers.below(if depth == 0 { 8 } else { 12 }) };
    match kind {
        0 => Node::Null,
        1 => Node::Bool(numbers.below(2) == 0),
        2 => Node::U64(numbers.next() >> numbers.below(64)),
        3 => Node::I64(-1 - ((numbers.next() >> 1) >> numbers.below(63)) as i64),
        4 => Node::U64(numbers.below(12)),
        5 => {
            let float = f64::from_bits(numbers.next());
            let simple = (numbers.below(4000) as f64 - 2000.0) / 8.0;
            Node::F64(if float.is_finite() && numbers.below(3) == 0 { float } else { simple })
        }
        6 | 7 => Node::Str(arena.alloc_str(text(numbers))),
        8 => {
            let items: Vec<_> = (0..numbers.below(4)).map(|_| document(numbers, arena, depth - 1)).collect();
            Node::array(arena, &items)
        }
        _ => {
            let mut fields: Vec<Field<'a>> = Vec::new();
            for _ in 0..numbers.below(7) {
                // Most often one that has a short name.
                let below = if numbers.below(3) == 0 { NAMES.len() } else { IDENTIFIERS };
                let name = NAMES[numbers.below(below as u64) as usize];
                let value = match name {
                    "xs" if depth > 1 => {
                        let items: Vec<_> =
                            (0..numbers.below(4)).map(|_| document(numbers, arena, depth - 2)).collect();
                        Node::array(arena, &items)
                    }
                    _ => document(numbers, arena, depth - 1),
                };
                fields.push(Field { name, value });
            }
            Node::object(arena, fields)
        }
    }
}
