//! The command line.

use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use crate::services::Service;

pub const HELP: &str = "\
Orders that travel through four services and two buses, each as one trace.

Usage: cargo run --example orders -- [OPTIONS]

  --orders N        how many orders to send, out of a sample of 50 [default: 20]
  --json FILE       send the orders of this file instead, one JSON object a line:
                    {\"id\": \"7\", \"customer\": \"Zoë\", \"sku\": \"tea-mint\", \"quantity\": 2}
  --service NAME    be one service (order, inventory, payment, notification) beside the daprd
                    at DAPR_GRPC_PORT or DAPR_GRPC_ENDPOINT
  --port N          with --service: the port to serve [default: APP_PORT, else 3000]
  -h, --help        this text

Without --service everything runs in this process, beside an embedded sidecar.
Traces and metrics are exported if OTEL_EXPORTER_OTLP_ENDPOINT is set.

Exit code: 0 if all went well, 1 if an order failed, 2 if the arguments or the file are wrong.
";

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Help,
    /// The whole shop.
    Shop(Source),
    /// One service.
    Serve(Service, Option<u16>),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    Sample(usize),
    File(PathBuf),
}

const MAX_ORDERS: usize = 100_000;

pub fn parse(mut parser: Parser) -> Result<Command, String> {
    let (mut orders, mut file, mut service, mut port) = (None, None, None, None);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Long("orders") => {
                let text = value(&mut parser, "--orders")?;
                let count = text.parse::<usize>().ok().filter(|count| (1..=MAX_ORDERS).contains(count));
                let count = count.ok_or(format!("--orders: `{text}` is not a number from 1 to {MAX_ORDERS}"))?;
                set(&mut orders, count, "--orders")?;
            }
            Arg::Long("json") => {
                let path = parser.value().map_err(|_| "--json: a file is missing behind it".to_owned())?;
                set(&mut file, PathBuf::from(path), "--json")?;
            }
            Arg::Long("service") => {
                let text = value(&mut parser, "--service")?;
                let named = Service::of_app_id(&text);
                let named =
                    named.ok_or(format!("--service: `{text}` is none of order, inventory, payment, notification"))?;
                set(&mut service, named, "--service")?;
            }
            Arg::Long("port") => {
                let text = value(&mut parser, "--port")?;
                let number = text.parse::<u16>().ok().filter(|port| *port > 0);
                set(&mut port, number.ok_or(format!("--port: `{text}` is not a port"))?, "--port")?;
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    match (service, orders, file, port) {
        (Some(service), None, None, port) => Ok(Command::Serve(service, port)),
        (Some(_), ..) => Err("--service serves; --orders and --json are for the whole shop".to_owned()),
        (None, _, _, Some(_)) => Err("--port goes with --service".to_owned()),
        (None, Some(_), Some(_), None) => Err("--orders and --json exclude each other".to_owned()),
        (None, None, Some(file), None) => Ok(Command::Shop(Source::File(file))),
        (None, orders, None, None) => Ok(Command::Shop(Source::Sample(orders.unwrap_or(20)))),
    }
}

fn value(parser: &mut Parser, name: &str) -> Result<String, String> {
    let value = parser.value().map_err(|_| format!("{name}: a value is missing behind it"))?;
    value.string().map_err(|_| format!("{name}: the value is no text"))
}

fn set<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), String> {
    match slot.replace(value) {
        Some(_) => Err(format!("{name} is given twice")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use lexopt::Parser;

    use super::{Command, Service, Source, parse};

    #[test]
    fn the_arguments_say_what_to_do() {
        let parse = |args: &[&str]| parse(Parser::from_args(args));
        assert_eq!(parse(&[]), Ok(Command::Shop(Source::Sample(20))));
        assert_eq!(parse(&["--orders", "3"]), Ok(Command::Shop(Source::Sample(3))));
        assert_eq!(parse(&["--json=f"]), Ok(Command::Shop(Source::File("f".into()))));
        assert_eq!(parse(&["--service", "payment"]), Ok(Command::Serve(Service::Payment, None)));
        assert_eq!(parse(&["--service", "order", "--port", "80"]), Ok(Command::Serve(Service::Order, Some(80))));
        assert_eq!(parse(&["-h", "--nonsense"]), Ok(Command::Help));
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (args, message) in [
            (&["--orders", "0"][..], "--orders"),
            (&["--orders", "many"], "many"),
            (&["--orders", "100001"], "100000"),
            (&["--orders"], "missing"),
            (&["--orders", "1", "--orders", "2"], "twice"),
            (&["--orders", "1", "--json", "f"], "exclude"),
            (&["--service", "shop"], "shop"),
            (&["--service", "order", "--orders", "1"], "whole shop"),
            (&["--port", "1"], "--service"),
            (&["--service", "order", "--port", "0"], "port"),
            (&["--what"], "--what"),
            (&["stray"], "stray"),
        ] {
            let error = parse(Parser::from_args(args)).unwrap_err();
            assert!(error.contains(message), "{args:?}: {error}");
        }
    }
}
