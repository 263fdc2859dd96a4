# Site a, with the store's leader or without, is killed and comes back, twenty times.
estate two-city
start
load rate 250
wait load steady 30s
repeat 20
  step "site a killed" failover
    fault kill site a
    wait u1 at b 10s
    wait gap closed 10s
    start site a
    wait u1 in-sync 90s
    wait u2 in-sync 90s
  end
  step "back" switch-back
    switch u1 to a mode switch-back
    wait u1 at a in-sync 60s
    wait gap closed 10s
  end
  pass 9s # an automatic switch is damped for a while after another one
end
check
