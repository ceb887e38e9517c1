"""From scanner phase to local field: scaling, mask, unwrapping, echo combination, background removal."""
