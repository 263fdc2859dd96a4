# Ten minutes of load with a starved processor and no fault: 0 switches.
estate two-city
start
load rate 200
wait load steady 30s
step "starved" steady switches u1 0 switches u2 0
  fault starve 4 harmless
  pass 10m
  heal
end
check
