"""What an environment is made of: settings, presets, pinned versions, the plan, the outputs."""
