"""Tables, figures and the report of a comparison."""
