import fieldguide

evaluation = fieldguide.evaluate("runs/dataset")
fieldguide.plots.confusion_matrix(evaluation).savefig("confusion.png")
fieldguide.plots.per_class(evaluation).savefig("classes.png")
