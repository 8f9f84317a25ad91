from fieldguide.evaluation.metrics import wilson_interval

for num_images in (20, 100, 1000):
    low, high = wilson_interval(round(0.95 * num_images), num_images)
    print(f"95 % of {num_images} pictures right: between {low:.1%} and {high:.1%}")
