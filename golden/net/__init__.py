"""Float networks: their nodes, weights and input pictures, and what they compute in float32."""
