# Nobody is left who could serve the unit, for longer than a gateway may hold a request: everyone has to be answered before their patience
# is over, and told that it was held for too long.
estate one-unit
start
load rate 30 accounts 400 via a,b attempt 9500ms
wait load steady 30s
step "nobody is left to serve" failover no-survivor
  fault kill process agent-u1-a,agent-u1-b
  pass 14s
  start process agent-u1-a,agent-u1-b
  wait u1 in-sync 60s
  wait gap closed 20s
end
check
