# Site a is alive and nobody reaches it, twenty times.
estate two-city
start
load rate 250
wait load steady 30s
repeat 20
  step "site a cut off" failover
    fault cut a both
    wait u1 at b 15s
    wait gap closed of u1 10s
    pass 3s
    heal a
    wait u1 in-sync 90s
    wait u2 in-sync 90s
    wait gap closed 10s
  end
  step "back" switch-back
    switch u1 to a mode switch-back
    wait u1 at a in-sync 60s
    wait gap closed 10s
  end
  pass 9s # an automatic switch is damped for a while after another one
end
check
