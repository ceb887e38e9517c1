"""Where λ is chosen: `spectrum` estimates λ(k) from the field, `automatic` makes one λ of it for a classical method."""
