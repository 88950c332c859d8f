"""Time, memory and parameters of everything that costs something: python -m benchmarks"""
