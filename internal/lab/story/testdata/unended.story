estate two-city
start
step "one" drill
  pass 1s
