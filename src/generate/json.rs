//! Events as JSON, written by hand: a general serialiser would take most of the generator's time.
//!
//! Takes a planned event, appends one JSON object to a string. Every text in it is made here or is a
//! constant without quotes, so nothing needs escaping; a test reads the result back.

use std::net::Ipv4Addr;
use std::ops::Range;

use super::Label;
use super::draft::{AccountEvent, Body, Origin, Payment, Planned, Transfer};
use super::places::Point;
use super::world::{Account, Card, Device, Merchant, Payee, mix};

/// What an event's id is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventId {
    pub(super) run: u64,
    pub(super) number: u64,
}

/// Appends the event and tells where its id stands.
pub(super) fn push_event(out: &mut String, planned: &Planned, id: EventId) -> Range<usize> {
    let (head, prefix) = match planned.body {
        Body::Payment(_) => ("{\"tx_id\":\"", "tx-"),
        Body::AccountEvent(_) => ("{\"event_id\":\"", "ev-"),
        Body::Transfer(_) => ("{\"transfer_id\":\"", "tr-"),
    };
    out.push_str(head);
    let start = out.len();
    out.push_str(prefix);
    push_hex(out, id.run, 8);
    out.push('-');
    push_number(out, id.number);
    let range = start..out.len();
    out.push_str("\",\"event_time\":\"");
    push_time(out, planned.time);
    match &planned.body {
        Body::Payment(payment) => push_payment(out, payment),
        Body::AccountEvent(event) => push_account_event(out, event),
        Body::Transfer(transfer) => push_transfer(out, transfer),
    }
    out.push('}');
    range
}

/// Appends what the event is partitioned by.
pub(super) fn push_key(out: &mut String, body: &Body) {
    match body {
        Body::Payment(payment) => push_card(out, payment.card),
        Body::AccountEvent(event) => push_account(out, event.account),
        Body::Transfer(transfer) => push_account(out, transfer.account),
    }
}

/// Appends the label's fields to a JSON object that is closed already.
pub(super) fn push_label(out: &mut String, label: Option<Label>) {
    out.pop();
    match label {
        Some(label) => {
            out.push_str(",\"is_fraud\":true,\"typology\":\"");
            out.push_str(label.typology.name());
            out.push_str("\"}");
        }
        None => out.push_str(",\"is_fraud\":false,\"typology\":null}"),
    }
}

fn push_payment(out: &mut String, payment: &Payment) {
    let place = payment.merchant.city.place();
    out.push_str("\",\"card_id\":\"");
    push_card(out, payment.card);
    out.push_str("\",\"account_id\":\"");
    push_account(out, payment.account);
    out.push_str("\",\"amount\":");
    push_cents(out, payment.cents);
    push_text(out, ",\"currency\":\"", place.currency);
    out.push_str("\"merchant_id\":\"");
    push_merchant(out, &payment.merchant);
    push_text(out, "\",\"mcc\":\"", payment.merchant.category.mcc);
    push_text(out, "\"country\":\"", place.country);
    push_text(out, "\"channel\":\"", payment.channel);
    push_text(out, "\"entry_mode\":\"", payment.entry_mode);
    push_origin(out, payment.origin);
    push_point(out, payment.merchant.terminal);
    match payment.decline_code {
        Some(code) => {
            out.push_str("\"approved\":false,\"decline_code\":\"");
            out.push_str(code);
            out.push('"');
        }
        None => out.push_str("\"approved\":true,\"decline_code\":null"),
    }
}

fn push_account_event(out: &mut String, event: &AccountEvent) {
    out.push_str("\",\"account_id\":\"");
    push_account(out, event.account);
    push_text(out, "\",\"kind\":\"", event.kind);
    push_origin(out, Some(event.origin));
    push_text(out, "\"country\":\"", event.city.place().country);
    out.push_str("\"payee_id\":");
    match event.payee {
        Some(payee) => {
            out.push('"');
            push_payee(out, payee);
            out.push('"');
        }
        None => out.push_str("null"),
    }
}

fn push_transfer(out: &mut String, transfer: &Transfer) {
    out.push_str("\",\"account_id\":\"");
    push_account(out, transfer.account);
    out.push_str("\",\"payee_id\":\"");
    push_payee(out, transfer.payee);
    out.push_str("\",\"amount\":");
    push_cents(out, transfer.cents);
    push_text(out, ",\"currency\":\"", transfer.currency);
    push_text(out, "\"channel\":\"", transfer.channel);
    push_origin(out, transfer.origin);
    push_text(out, "\"payee_country\":\"", transfer.payee_country);
    out.pop();
}

/// Appends a text field that ends with a comma; `head` opens its quotes.
fn push_text(out: &mut String, head: &str, value: &str) {
    out.push_str(head);
    out.push_str(value);
    out.push_str("\",");
}

fn push_origin(out: &mut String, origin: Option<Origin>) {
    let Some(origin) = origin else {
        out.push_str("\"device_id\":null,\"ip\":null,");
        return;
    };
    out.push_str("\"device_id\":\"");
    push_device(out, origin.device);
    out.push_str("\",\"ip\":\"");
    push_address(out, origin.ip);
    out.push_str("\",");
}

fn push_point(out: &mut String, point: Option<Point>) {
    let Some(point) = point else {
        out.push_str("\"lat\":null,\"lon\":null,");
        return;
    };
    out.push_str("\"lat\":");
    push_degrees(out, point.lat);
    out.push_str(",\"lon\":");
    push_degrees(out, point.lon);
    out.push(',');
}

/// A card's token: 40 bits that no other card has, as multiplying by an odd number permutes them.
fn push_card(out: &mut String, card: Card) {
    out.push_str("tok_");
    push_hex(out, (card.0 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) & 0xff_ffff_ffff, 10);
}

fn push_account(out: &mut String, account: Account) {
    out.push_str("acc_");
    push_hex(out, (account.0 + 1).wrapping_mul(0xd1b5_4a32_d192_ed03) & 0xff_ffff_ffff, 10);
}

fn push_device(out: &mut String, device: Device) {
    out.push_str("dv_");
    push_hex(out, device.0, 12);
}

fn push_payee(out: &mut String, payee: Payee) {
    out.push_str("pay_");
    push_hex(out, payee.0, 10);
}

fn push_merchant(out: &mut String, merchant: &Merchant) {
    out.push_str("mer_");
    push_hex(out, mix(3, merchant.number), 4);
    push_padded(out, merchant.number, 6);
}

fn push_address(out: &mut String, address: Ipv4Addr) {
    for (index, part) in address.octets().into_iter().enumerate() {
        if index > 0 {
            out.push('.');
        }
        push_number(out, u64::from(part));
    }
}

fn push_cents(out: &mut String, cents: u64) {
    push_number(out, cents / 100);
    out.push('.');
    push_padded(out, cents % 100, 2);
}

fn push_degrees(out: &mut String, ten_thousandths: i32) {
    if ten_thousandths < 0 {
        out.push('-');
    }
    let value = u64::from(ten_thousandths.unsigned_abs());
    push_number(out, value / 10_000);
    out.push('.');
    push_padded(out, value % 10_000, 4);
}

/// RFC 3339 in UTC with milliseconds. Days to dates by the civil calendar's 400-year eras.
fn push_time(out: &mut String, micros: i64) {
    let millis = micros.max(0).unsigned_abs() / 1_000;
    let (days, rest) = (millis / 86_400_000, millis % 86_400_000);
    // Counted from 0000-03-01, so that the leap day ends a year; valid from 1970 on.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    push_padded(out, era * 400 + year_of_era + u64::from(month <= 2), 4);
    for (mark, value) in [
        ('-', month),
        ('-', day),
        ('T', rest / 3_600_000),
        (':', rest / 60_000 % 60),
        (':', rest / 1_000 % 60),
    ] {
        out.push(mark);
        push_padded(out, value, 2);
    }
    out.push('.');
    push_padded(out, rest % 1_000, 3);
    out.push('Z');
}

fn push_number(out: &mut String, value: u64) {
    push_padded(out, value, 1);
}

/// Decimal digits, with zeros before them up to `width`.
fn push_padded(out: &mut String, mut value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while value > 0 || digits.len() - first < width {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.push_str(std::str::from_utf8(&digits[first..]).unwrap_or_default());
}

/// The lowest `width` hexadecimal digits, 16 at most.
fn push_hex(out: &mut String, value: u64, width: usize) {
    let mut digits = [b'0'; 16];
    for (index, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(value >> (60 - 4 * index) & 0xf) as usize];
    }
    out.push_str(std::str::from_utf8(&digits[16 - width..]).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventTime;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for micros in [31_536_000_000_000, 951_782_400_123_000, 1_709_164_799_999_000, 1_763_806_502_001_000]
        {
            let mut text = String::new();
            push_time(&mut text, micros);
            let shown = chrono::DateTime::from_timestamp_micros(micros).expect("in range");
            assert_eq!(
                text,
                shown.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
                "{}",
                EventTime(micros)
            );
        }
    }

    #[test]
    fn money_keeps_two_decimals_and_degrees_four() {
        let mut text = String::new();
        push_cents(&mut text, 5);
        text.push(' ');
        push_cents(&mut text, 120_050);
        text.push(' ');
        push_degrees(&mut text, -1_280);
        text.push(' ');
        push_degrees(&mut text, 1_512_090);
        assert_eq!(text, "0.05 1200.50 -0.1280 151.2090");
    }
}
