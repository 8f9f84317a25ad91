import fieldguide

recipe = fieldguide.Transfer(num_folds=10)
run = fieldguide.train("dataset/", recipe=recipe, out="runs/ten-folds")
comparison = fieldguide.compare("runs/dataset", run.directory)
low, high = comparison.interval
print(f"{comparison.difference:+.1%} ({low:+.1%} to {high:+.1%}), p = {comparison.p_value:.2f}")
for flip in comparison.flips:
    print(flip.kind, flip.path, "was called", flip.a, "and now", flip.b)
