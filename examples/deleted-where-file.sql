number between 5100 and 5119
or number in (
  5500,
  5501,
  5650
)
