"""Planning that targets and passes share: memory arenas and schedules."""
