"""The training program on a Ray cluster; what a server looks at beforehand loads no Ray."""
