"""Settings, presets, the plan, its registration and the outputs of a stack."""
