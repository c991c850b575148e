"""The Kubernetes operator: custom resources that run a recipe for those who live in GitOps."""
