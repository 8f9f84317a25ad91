import fieldguide

recipe = fieldguide.Transfer(num_folds=10)
run = fieldguide.train("dataset/", recipe=recipe, out="runs/ten-folds")
print(run.scores["val"]["accuracy"])
