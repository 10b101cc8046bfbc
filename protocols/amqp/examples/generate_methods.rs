//! Writes `src/codec/methods.rs` and a file for each class in `src/codec/methods` from `methods.table`. Run it after a
//! change of the table: `cargo run -p mailrail-amqp --example generate_methods`. A test compares its output with the
//! committed files.
//!
//! It does not format beyond what rustfmt would leave alone and knows no method's meaning.

use std::fmt::Write as _;
use std::path::Path;

/// One line of the table below a method.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub kind: String,
}

/// One method of the table.
#[derive(Clone, Debug)]
pub struct Method {
    pub class: String,
    pub class_id: u16,
    pub name: String,
    pub id: u16,
    /// `C`, `S` or `B`: who may send it.
    pub direction: String,
    pub fields: Vec<Field>,
}

impl Method {
    fn type_name(&self) -> String {
        format!("{}{}", camel(&self.class), camel(&self.name))
    }

    fn kept(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| !field.name.starts_with("reserved"))
    }

    fn borrows(&self) -> bool {
        self.kept()
            .any(|field| matches!(field.kind.as_str(), "shortstr" | "shortbytes" | "longstr" | "table"))
    }

    fn lifetime(&self) -> &'static str {
        if self.borrows() { "<'a>" } else { "" }
    }

    fn any_lifetime(&self) -> &'static str {
        if self.borrows() { "<'_>" } else { "" }
    }
}

/// Reads the table. Panics on a malformed line: the table is ours.
pub fn read_table(table: &str) -> Vec<Method> {
    let mut methods: Vec<Method> = Vec::new();
    let mut class = (String::new(), 0);
    for line in table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (line.starts_with(' '), words.as_slice()) {
            (true, [name, kind]) => {
                let method = methods.last_mut().expect("a field follows a method");
                method.fields.push(Field { name: (*name).to_owned(), kind: (*kind).to_owned() });
            }
            (false, ["class", name, id]) => class = ((*name).to_owned(), id.parse().expect("a class id")),
            (false, [name, id, direction]) => methods.push(Method {
                class: class.0.clone(),
                class_id: class.1,
                name: (*name).to_owned(),
                id: id.parse().expect("a method id"),
                direction: (*direction).to_owned(),
                fields: Vec::new(),
            }),
            _ => panic!("malformed line {line:?}"),
        }
    }
    methods
}

/// The generated files: path below `src/codec`, and text.
pub fn generate(table: &str) -> Vec<(String, String)> {
    let methods = read_table(table);
    let classes: Vec<&[Method]> = methods.chunk_by(|one, other| one.class == other.class).collect();
    let mut files = vec![("methods.rs".to_owned(), all(&methods, &classes))];
    for class in classes {
        files.push((format!("methods/{}.rs", class[0].class), one_class(class)));
    }
    files
}

const GENERATED: &str = "@generated from methods.table by examples/generate_methods.rs.";

/// What all methods are together.
fn all(methods: &[Method], classes: &[&[Method]]) -> String {
    let mut out = format!(
        "\
//! Every method of AMQP 0-9-1 with its arguments: read by borrowing, written straight into the output.
//!
//! {GENERATED} Knows no state: which method may come when is the
//! connection's and the channel's matter.

"
    );
    for class in classes {
        let _ = writeln!(out, "mod {};", class[0].class);
    }
    out.push_str(
        "\nuse bytes::BytesMut;\n\nuse super::method::{Arguments, MethodError, MethodId, finish};\n\n",
    );
    for class in classes {
        let _ = writeln!(out, "pub use self::{}::*;", class[0].class);
    }
    method_enum(&mut out, methods);
    out
}

/// The methods of one class.
fn one_class(methods: &[Method]) -> String {
    let mut out = format!("//! Methods of the class `{}`. {GENERATED}\n\n", methods[0].class);
    let mut fields = methods.iter().flat_map(|method| &method.fields);
    let is_number = |kind: &str| matches!(kind, "octet" | "short" | "long" | "longlong" | "bit");
    let puts = fields.clone().any(|field| is_number(&field.kind));
    let _ = writeln!(out, "use bytes::{};\n", if puts { "{BufMut, BytesMut}" } else { "BytesMut" });
    out.push_str("use crate::codec::method::{Arguments, MethodId};\nuse crate::codec::primitive::*;\n");
    if fields.any(|field| field.kind == "table") {
        out.push_str("use crate::codec::table::Table;\n");
    }
    for method in methods {
        structure(&mut out, method);
        reading(&mut out, method);
        writing(&mut out, method);
    }
    out
}

fn structure(out: &mut String, method: &Method) {
    let _ = writeln!(out, "\n/// `{}.{}`", method.class, method.name);
    let _ = writeln!(out, "#[derive(Clone, Copy, Debug, PartialEq)]");
    let name = method.type_name();
    if method.kept().next().is_none() {
        let _ = writeln!(out, "pub struct {name};");
        return;
    }
    let _ = writeln!(out, "pub struct {name}{} {{", method.lifetime());
    for field in method.kept() {
        let _ = writeln!(out, "    pub {}: {},", snake(&field.name), rust_type(&field.kind));
    }
    let _ = writeln!(out, "}}");
}

fn reading(out: &mut String, method: &Method) {
    let (name, lifetime) = (method.type_name(), method.lifetime());
    let (scope, of, input) =
        if method.borrows() { ("<'a>", lifetime, "&'a [u8]") } else { ("", "", "&[u8]") };
    let result = if method.borrows() { "Parsed<'a, Self>" } else { "Parsed<'_, Self>" };
    let _ = writeln!(out, "\nimpl{scope} {name}{of} {{");
    let _ = writeln!(out, "    pub(super) fn read(input: {input}) -> {result} {{");
    let mut bit = 0;
    for (at, field) in method.fields.iter().enumerate() {
        if field.kind != "bit" {
            let target = if field.name.starts_with("reserved") { "_".to_owned() } else { snake(&field.name) };
            let _ = writeln!(out, "        let (input, {target}) = {}(input)?;", reader(&field.kind));
            bit = 0;
            continue;
        }
        if bit == 0 {
            let used = bit_run(method, at).iter().any(|field| !field.name.starts_with("reserved"));
            let _ =
                writeln!(out, "        let (input, {}) = octet(input)?;", if used { "bits" } else { "_" });
        }
        if !field.name.starts_with("reserved") {
            let _ = writeln!(out, "        let {} = bits & {:#04x} != 0;", snake(&field.name), 1 << bit);
        }
        bit += 1;
    }
    let names: Vec<String> = method.kept().map(|field| snake(&field.name)).collect();
    let value = if names.is_empty() { name } else { format!("{name} {{ {} }}", names.join(", ")) };
    let _ = writeln!(out, "        Ok((input, {value}))\n    }}\n}}");
}

fn writing(out: &mut String, method: &Method) {
    let (name, lifetime) = (method.type_name(), method.any_lifetime());
    let _ = writeln!(out, "\nimpl Arguments for {name}{lifetime} {{");
    let ids = format!("MethodId {{ class: {}, method: {} }}", method.class_id, method.id);
    let _ = writeln!(out, "    const ID: MethodId = {ids};\n");
    let out_name = if method.fields.is_empty() { "_out" } else { "out" };
    let _ = writeln!(out, "    fn write(&self, {out_name}: &mut BytesMut) {{");
    let mut at = 0;
    while let Some(field) = method.fields.get(at) {
        if field.kind == "bit" {
            let run = bit_run(method, at);
            let _ = writeln!(out, "        out.put_u8({});", bits(run));
            at += run.len();
            continue;
        }
        let _ = writeln!(out, "        {};", writer(field));
        at += 1;
    }
    let _ = writeln!(out, "    }}\n}}");
}

fn method_enum(out: &mut String, methods: &[Method]) {
    let _ =
        writeln!(out, "\n/// Any method.\n#[derive(Clone, Copy, Debug, PartialEq)]\npub enum Method<'a> {{");
    for method in methods {
        let _ = writeln!(out, "    {0}({0}{1}),", method.type_name(), method.lifetime());
    }
    let _ = writeln!(out, "}}\n\nimpl<'a> Method<'a> {{");
    let _ = writeln!(out, "    /// Reads the payload of a method frame.");
    let _ = writeln!(out, "    pub fn read(payload: &'a [u8]) -> Result<Self, MethodError> {{");
    let _ = writeln!(out, "        let (id, input) = MethodId::read(payload)?;");
    let _ = writeln!(out, "        match (id.class, id.method) {{");
    for method in methods {
        let name = method.type_name();
        let ids = format!("({}, {})", method.class_id, method.id);
        let _ = writeln!(out, "            {ids} => finish(id, {name}::read(input)).map(Method::{name}),");
    }
    let _ = writeln!(out, "            _ => Err(MethodError::Unknown(id)),\n        }}\n    }}\n");
    let _ = writeln!(out, "    pub fn id(&self) -> MethodId {{\n        match self {{");
    for method in methods {
        let _ = writeln!(out, "            Method::{0}(_) => {0}::ID,", method.type_name());
    }
    let _ = writeln!(out, "        }}\n    }}\n");
    let _ = writeln!(out, "    /// Appends the arguments, without the ids.");
    let _ = writeln!(out, "    pub fn write_arguments(&self, out: &mut BytesMut) {{\n        match self {{");
    for method in methods {
        let _ = writeln!(out, "            Method::{}(method) => method.write(out),", method.type_name());
    }
    let _ = writeln!(out, "        }}\n    }}\n}}\n\nimpl MethodId {{");
    let _ = writeln!(
        out,
        "    /// `class.method` as the specification spells it; `None` for ids it does not have."
    );
    let _ = writeln!(out, "    pub fn name(self) -> Option<&'static str> {{");
    let _ = writeln!(out, "        Some(match (self.class, self.method) {{");
    for method in methods {
        let ids = format!("({}, {})", method.class_id, method.id);
        let _ = writeln!(out, "            {ids} => \"{}.{}\",", method.class, method.name);
    }
    let _ = writeln!(out, "            _ => return None,\n        }})\n    }}\n");
    let _ = writeln!(out, "    /// True for methods that only a server sends.");
    let _ = writeln!(out, "    pub fn is_servers_alone(self) -> bool {{");
    let _ = writeln!(out, "        matches!(\n            (self.class, self.method),");
    let servers: Vec<String> = methods
        .iter()
        .filter(|method| method.direction == "S")
        .map(|method| format!("({}, {})", method.class_id, method.id))
        .collect();
    let _ = writeln!(out, "            {}\n        )\n    }}\n}}", servers.join("\n                | "));
}

/// The bits that share octets from this field on.
fn bit_run(method: &Method, at: usize) -> &[Field] {
    let rest = &method.fields[at..];
    let len = rest.iter().take_while(|field| field.kind == "bit").count();
    assert!(len <= 8, "more than one octet of bits: the table has none");
    &rest[..len]
}

fn bits(run: &[Field]) -> String {
    let terms: Vec<String> = run
        .iter()
        .enumerate()
        .filter(|(_, field)| !field.name.starts_with("reserved"))
        .map(|(shift, field)| match shift {
            0 => format!("u8::from(self.{})", snake(&field.name)),
            _ => format!("u8::from(self.{}) << {shift}", snake(&field.name)),
        })
        .collect();
    if terms.is_empty() { "0".to_owned() } else { terms.join(" | ") }
}

fn rust_type(kind: &str) -> &'static str {
    match kind {
        "octet" => "u8",
        "short" => "u16",
        "long" => "u32",
        "longlong" => "u64",
        "bit" => "bool",
        "shortstr" => "&'a str",
        "shortbytes" => "ShortBytes<'a>",
        "longstr" => "&'a [u8]",
        "table" => "Table<'a>",
        _ => panic!("unknown type {kind}"),
    }
}

fn reader(kind: &str) -> &'static str {
    match kind {
        "octet" => "octet",
        "short" => "short",
        "long" => "long",
        "longlong" => "long_long",
        "shortstr" => "short_text",
        "shortbytes" => "short_bytes",
        "longstr" => "long_bytes",
        "table" => "Table::read",
        _ => panic!("unknown type {kind}"),
    }
}

fn writer(field: &Field) -> String {
    let reserved = field.name.starts_with("reserved");
    let value = format!("self.{}", snake(&field.name));
    match field.kind.as_str() {
        "octet" => format!("out.put_u8({})", if reserved { "0" } else { &value }),
        "short" => format!("out.put_u16({})", if reserved { "0" } else { &value }),
        "long" => format!("out.put_u32({})", if reserved { "0" } else { &value }),
        "longlong" => format!("out.put_u64({})", if reserved { "0" } else { &value }),
        "shortstr" => format!("put_short_text(out, {})", if reserved { "\"\"" } else { &value }),
        "shortbytes" => format!("put_short_bytes(out, {value})"),
        "longstr" => format!("put_long_bytes(out, {})", if reserved { "&[]" } else { &value }),
        "table" => format!("{value}.write(out)"),
        kind => panic!("unknown type {kind}"),
    }
}

fn camel(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_uppercase() + rest
        })
        .collect()
}

fn snake(name: &str) -> String {
    match name {
        "type" => "kind".to_owned(),
        _ => name.replace('-', "_"),
    }
}

#[allow(dead_code, reason = "the test that compares includes this file as a module")]
fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(folder.join("methods.table"))?;
    let codec = folder.join("src/codec");
    std::fs::create_dir_all(codec.join("methods"))?;
    generate(&table).into_iter().try_for_each(|(path, text)| std::fs::write(codec.join(path), text))
}
