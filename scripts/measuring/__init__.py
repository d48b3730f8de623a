"""What measures with real actors, models and transports, for both `scripts.benchmark` and `scripts.tune`.

It knows neither of the two; what needs no Ray lies below it in `scoundrel_ray.tuning`.
"""
