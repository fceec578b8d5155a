//! The event contract from `schema.sql`: one `CREATE TABLE` a stream.
//!
//! Takes the file's text, hands on a [`Contract`] or every finding. The event-time column is the one called
//! `event_time`, or the one a comment line `-- @event_time: column` above the statement names.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion_sql::sqlparser::ast::{
    self, ColumnDef, ColumnOption, CreateTable, ExactNumberInfo, Spanned, Statement, TableConstraint,
    TimezoneInfo,
};

use super::error::byte_range;
use super::plan::parse_statements;
use crate::diagnostic::{Diagnostic, SourceText, choices, suggest};
use crate::event::{Contract, Stream};

const TYPES: &str = "BOOLEAN, TINYINT, SMALLINT, INTEGER, BIGINT, REAL, DOUBLE, DECIMAL(p, s), VARCHAR, TEXT, \
                     DATE, TIMESTAMP and TIMESTAMP WITH TIME ZONE";

/// Reads the contract; views may stand in the same file and are left to the catalog.
pub fn parse_contract(source: &Arc<SourceText>) -> Result<Contract, Vec<Diagnostic>> {
    let statements = parse_statements(source).map_err(|finding| vec![finding])?;
    let mut contract = Contract::default();
    let mut findings = Vec::new();
    for statement in &statements {
        match statement {
            Statement::CreateTable(table) => match stream(source, table) {
                Ok(stream) if contract.stream(&stream.name).is_some() => {
                    let span = byte_range(source, table.name.span());
                    let message = format!("stream {} is declared twice", stream.name);
                    findings.push(Diagnostic::error(source, span, message).with_code("contract"));
                }
                Ok(stream) => contract.streams.push(Arc::new(stream)),
                Err(found) => findings.extend(found),
            },
            Statement::CreateView(_) => {}
            other => findings.push(
                Diagnostic::error(
                    source,
                    byte_range(source, other.span()),
                    "only CREATE TABLE and CREATE VIEW stand in a contract",
                )
                .with_help("a rule's query belongs in a file of its own")
                .with_code("contract"),
            ),
        }
    }
    if contract.streams.is_empty() && findings.is_empty() {
        findings.push(
            Diagnostic::file_error(&source.file, "the contract declares no stream")
                .with_help("write CREATE TABLE name (event_time TIMESTAMP NOT NULL, …, PRIMARY KEY (…))")
                .with_code("contract"),
        );
    }
    if findings.is_empty() { Ok(contract) } else { Err(findings) }
}

fn stream(source: &Arc<SourceText>, table: &CreateTable) -> Result<Stream, Vec<Diagnostic>> {
    let name = object_name(&table.name);
    let mut findings = Vec::new();
    let mut fields = Vec::new();
    let mut event_id = Vec::new();
    for (index, column) in table.columns.iter().enumerate() {
        match field(source, column) {
            Ok(field) if fields.iter().any(|other: &Field| other.name() == field.name()) => {
                let message = format!("column {} is declared twice", field.name());
                findings.push(
                    Diagnostic::error(source, byte_range(source, column.name.span), message)
                        .with_code("contract"),
                );
            }
            Ok(field) => fields.push(field),
            Err(finding) => findings.push(finding),
        }
        if column.options.iter().any(|option| matches!(option.option, ColumnOption::PrimaryKey(_))) {
            event_id.push(index);
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    for constraint in &table.constraints {
        let TableConstraint::PrimaryKey(key) = constraint else { continue };
        for column in &key.columns {
            let ast::Expr::Identifier(name) = &column.column.expr else { continue };
            match position(&fields, &normal(name)) {
                Some(index) => event_id.push(index),
                None => findings.push(unknown_column(source, name, &fields)),
            }
        }
    }
    for &index in &event_id {
        fields[index] = fields[index].clone().with_nullable(false);
    }
    let event_time = event_time(source, table, &fields).map_err(|finding| vec![finding])?;
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(Stream { name, schema: Arc::new(Schema::new(fields)), event_time, event_id })
}

fn field(source: &Arc<SourceText>, column: &ColumnDef) -> Result<Field, Diagnostic> {
    let data_type = data_type(&column.data_type).ok_or_else(|| {
        let message = format!("a column can't be of type {}", column.data_type);
        Diagnostic::error(source, byte_range(source, column.span()), message)
            .with_help(format!("types of a contract are {TYPES}"))
            .with_code("contract")
    })?;
    let not_null = column.options.iter().any(|option| matches!(option.option, ColumnOption::NotNull));
    Ok(Field::new(normal(&column.name), data_type, !not_null))
}

/// The Arrow type of a contract's column type.
fn data_type(sql: &ast::DataType) -> Option<DataType> {
    Some(match sql {
        ast::DataType::Boolean | ast::DataType::Bool => DataType::Boolean,
        ast::DataType::TinyInt(_) => DataType::Int8,
        ast::DataType::SmallInt(_) | ast::DataType::Int2(_) => DataType::Int16,
        ast::DataType::Int(_) | ast::DataType::Integer(_) | ast::DataType::Int4(_) => DataType::Int32,
        ast::DataType::BigInt(_) | ast::DataType::Int8(_) => DataType::Int64,
        ast::DataType::Real | ast::DataType::Float4 => DataType::Float32,
        ast::DataType::Double(_)
        | ast::DataType::DoublePrecision
        | ast::DataType::Float(_)
        | ast::DataType::Float8 => DataType::Float64,
        ast::DataType::Decimal(info) | ast::DataType::Numeric(info) => return decimal(info),
        ast::DataType::Varchar(_)
        | ast::DataType::CharacterVarying(_)
        | ast::DataType::Char(_)
        | ast::DataType::Character(_)
        | ast::DataType::Text
        | ast::DataType::Uuid
        | ast::DataType::String(_) => DataType::Utf8,
        ast::DataType::Date => DataType::Date32,
        ast::DataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        ast::DataType::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
        }
        _ => return None,
    })
}

fn decimal(info: &ExactNumberInfo) -> Option<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
    let fits = (1..=38).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision;
    fits.then_some(DataType::Decimal128(precision, scale))
}

fn event_time(source: &Arc<SourceText>, table: &CreateTable, fields: &[Field]) -> Result<usize, Diagnostic> {
    let named = annotation(source, table);
    let name = named.as_deref().unwrap_or("event_time");
    let span = byte_range(source, table.name.span());
    let times: Vec<&str> = fields
        .iter()
        .filter(|field| matches!(field.data_type(), DataType::Timestamp(..)) && !field.is_nullable())
        .map(|field| field.name().as_str())
        .collect();
    let refuse = |message: String, help: String| {
        Diagnostic::error(source, span.clone(), message).with_help(help).with_code("contract")
    };
    let Some(index) = position(fields, name) else {
        let help = if times.is_empty() {
            "declare event_time TIMESTAMP NOT NULL".to_owned()
        } else {
            format!(
                "call it event_time, or write `-- @event_time: {}` above CREATE TABLE",
                times.join("` or `")
            )
        };
        return Err(refuse(
            format!("stream {} has no column {name} to take event time from", table.name),
            help,
        ));
    };
    if !times.contains(&name) {
        let message = format!("event-time column {name} must be TIMESTAMP NOT NULL");
        return Err(refuse(message, format!("write {name} TIMESTAMP NOT NULL")));
    }
    Ok(index)
}

/// The name in `-- @event_time: name` in the comment lines right above the statement.
fn annotation(source: &SourceText, table: &CreateTable) -> Option<String> {
    let start = byte_range(source, table.name.span()).start;
    let line_start = source.text.get(..start)?.rfind('\n')?;
    let above = source.text.get(..line_start)?.lines().rev();
    above.map(str::trim).take_while(|line| line.starts_with("--")).find_map(|line| {
        Some(line.trim_start_matches('-').trim().strip_prefix("@event_time:")?.trim().to_lowercase())
    })
}

fn unknown_column(source: &Arc<SourceText>, name: &ast::Ident, fields: &[Field]) -> Diagnostic {
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    let message = format!("PRIMARY KEY names an unknown column {name}");
    let help = match suggest(&normal(name), names.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("columns are {}", choices(names)),
    };
    Diagnostic::error(source, byte_range(source, name.span), message).with_help(help).with_code("contract")
}

fn position(fields: &[Field], name: &str) -> Option<usize> {
    fields.iter().position(|field| field.name() == name)
}

/// An identifier as SQL compares it: lower case unless quoted.
pub(super) fn normal(ident: &ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The last part of a name, as SQL compares it.
pub(super) fn object_name(name: &ast::ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map_or_else(|| name.to_string(), normal)
}
