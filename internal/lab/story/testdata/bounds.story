within 5m
within 4m
estate two-city
start
step "one" drill diverged 0
  within 3m
  pass 1s
end
check
