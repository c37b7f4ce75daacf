"""The lines of scripts/bench, by what they measure."""
