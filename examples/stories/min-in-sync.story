# A unit whose policy wants at least one copy that acknowledges: its only one dies, so writes wait and are refused in the end, rather than be
# acknowledged by one machine. Nobody takes over. When the copy is back they go on.
estate two-city
policy u1 min-in-sync 1
start
load rate 200 accounts 1000 via a,b,c
wait load steady 30s
step "no copy acknowledges" failover no-survivor switches u1 0 switches u2 0
  fault kill process agent-u1-b
  pass 15s
  start process agent-u1-b
  wait u1 in-sync 60s
  wait gap closed of u1 20s
end
check
