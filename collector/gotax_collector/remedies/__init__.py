"""From the findings of a fleet to what can be applied: patches, policies, reports."""
