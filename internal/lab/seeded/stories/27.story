# Replication to the copy stands still for a moment, and then the owner's server dies: what was committed and not copied is on its disk alone.
# Its clients got no answer, ask the new owner again, and that executes it. When the old one is back its divergence is listed, and people
# bring it in: by its key it has been there for long, and is answered from its record.
estate one-unit
start
load rate 60 accounts 400 via b
wait load steady 30s
step "people bring in what diverged" failover exact diverged 1 switches u1 1
  fault cut a-b ports postgres
  pass 300ms
  fault kill database u1
  heal a-b reset
  wait u1 at b 10s
  wait gap closed 10s
  pass 3s
  wait divergence u1 listed 60s
  resend u1
  wait u1 in-sync 60s
end
check
