//! What a run is called.

use serde_json::{Value, json};

/// The name of a run in every table and tile: its network as JSON, keys sorted, without spaces. The geodesic, which is
/// no network, is called `geodesic`.
pub fn run_name(network: &Value) -> String {
    if *network == json!({"arch": "geodesic"}) {
        return "geodesic".to_owned();
    }
    let mut network = network.clone();
    network.sort_all_objects();
    network.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_name_whatever_order_its_network_was_written_in() {
        let name = run_name(&json!({"seed": 42, "arch": "fc", "model": {"widths": [2], "kind": "fc"}}));
        assert_eq!(name, r#"{"arch":"fc","model":{"kind":"fc","widths":[2]},"seed":42}"#);
        assert_eq!(run_name(&json!({"arch": "geodesic"})), "geodesic");
    }
}
