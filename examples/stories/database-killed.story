# The database of u2 is killed twenty times; each time the unit goes to the other site of the city, and back.
estate two-city
start
load rate 250
wait load steady 30s
repeat 20
  step "killed" failover units u2
    fault kill database u2
    wait gap closed of u2 10s
    wait u2 in-sync 60s
  end
  pass 9s # an automatic switch is damped for a while after another one
end
check
