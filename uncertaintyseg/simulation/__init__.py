"""Active learning on cases whose labels are known already: which strategy would have paid."""
