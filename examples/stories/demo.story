# The whole story on a two-city estate: sites a and b in one city, c in another; u1 is at home in a, u2 in b.
# Run it with: make demo

within 5m
estate two-city
start
load rate 300 accounts 2000 hot 5% via a,b,c
wait load steady 30s

step "planned takeover of u1, a to b" takeover zh "u1 计划接管 A→B" switches u1 1 switches u2 0
  switch u1 to b
  wait u1 at b in-sync 40s
  wait gap closed 10s
end

step "planned switch-back of u1, b to a" switch-back zh "u1 计划回切 B→A" switches u1 1 switches u2 0
  switch u1 to a mode switch-back
  wait u1 at a in-sync 40s
  wait gap closed 10s
end

# The same there and back as runs of a plan, with people in it: one starts it, another approves, and a task is answered. It begins in a window that
# somebody else has approved: the lab's are approved by the duty manager from the beginning.
step "u1 to b by its plan" takeover zh "u1 按预案接管 A→B" switches u1 1 switches u2 0
  window night revoked as bob because "the branches are not told yet"
  window always revoked as bob because "the branches are not told yet"
  run move-unit mode takeover set unit=u1 set to=b as ann refused "window always is open and not approved"
  window always approved as bob because "agreed with the branches"
  run move-unit mode takeover set unit=u1 set to=b as ann because "power works at a"
  wait run asks agree 30s
  approve agree for commander as ann refused "started"
  approve agree for commander as bob because "agreed with the branches"
  wait run asks count 60s
  complete count set difference=0
  wait run over 30s
  wait u1 at b in-sync 40s
  wait gap closed 10s
end

step "u1 home by its plan" switch-back zh "u1 按预案回切 B→A" switches u1 1 switches u2 0
  run move-unit mode switch-back set unit=u1 set to=a as bob refused "who approves is never who starts"
  window always approved as ann because "the branches are told"
  run move-unit mode switch-back set unit=u1 set to=a as bob because "power works are over"
  wait run asks agree 30s
  approve agree for commander as ann
  wait run asks count 60s
  complete count set difference=0
  wait run over 30s
  wait u1 at a in-sync 40s
  wait gap closed 10s
end

# Replication between a and b stands still for 300 ms, then every process of a dies, and what was on its way is lost with it: what u1 had
# committed and not yet copied was never acknowledged. There has to be some of it, or the list of it would show nothing.
step "site a is killed" failover zh "站点 A 全部进程被杀" exact diverged 1 switches u1 1 switches u2 0
  fault cut a-b ports postgres
  pass 300ms
  fault kill site a
  heal a-b reset
  wait u1 at b 10s
  wait gap closed 10s
  pass 3s
  start site a
  wait divergence u1 listed 60s
  wait u1 in-sync 60s
  wait u2 in-sync 60s
end

step "switch-back of u1 after the return of a" switch-back zh "A 恢复后 u1 回切"
  switch u1 to a mode switch-back
  wait u1 at a in-sync 40s
  wait gap closed 10s
end

step "the database of u2 is killed" failover zh "u2 数据库进程被杀" switches u1 0 switches u2 1
  fault kill database u2
  wait u2 at a 10s
  wait gap closed 10s
  wait u2 in-sync 60s
end

step "switch-back of u2 to b" switch-back zh "u2 回切 B"
  switch u2 to b mode switch-back
  wait u2 at b in-sync 40s
  wait gap closed 10s
end

# Site a is alive and nobody reaches it: only the fence keeps it from acknowledging.
step "site a is cut off" failover zh "站点 A 网络孤立" switches u1 1 switches u2 0
  fault cut a both
  wait u1 at b 15s
  wait gap closed of u1 10s
  pass 3s
  heal a
  wait divergence u1 listed 60s
  wait u1 in-sync 60s
  wait u2 in-sync 60s
end

# The city is lost, and with it the majority of the control plane. People recover it in c, see what may be lost, and accept it.
step "the city of a and b is lost" emergency zh "同城双站点全部失效" loss no-survivor
  fault kill site a,b
  recover at c as ann
  wait store led 30s
  switch u1 to c mode emergency as ann at c
  wait switch u1 accepting 10s
  accept u1 as ann at c because "both sites of the city are gone"
  accept u1 as ann at c refused "has accepted"
  accept u1 as bob at c because "confirmed by the duty manager"
  switch u2 to c mode emergency as ann at c
  wait switch u2 accepting 10s
  accept u2 as ann at c because "both sites of the city are gone"
  accept u2 as bob at c because "confirmed by the duty manager"
  wait u1 at c 20s
  wait u2 at c 20s
  verify u1 as ann at c
  verify u2 as ann at c
  pass 2s # every account is judged: open, or credit-only where it lost something
  release u1 as ann at c
  release u2 as ann at c
  wait gap closed 20s
  pass 3s
end
# The two sites that carried the runs out are lost; their evidence is not.
evidence at c
check

# Once more on a fresh estate: each unit has a copy in the other city in its in-sync set, so losing the city loses nothing.
# The product shows that as "not provable without the lost sites" and people accept it. No loss is declared here: one would fail the run.
estate two-city
policy u1 pin c
policy u2 pin c
start
load rate 200 accounts 1000 via a,b,c
wait load steady 30s
step "the city is lost, copies pinned in c" emergency zh "同城全失，C 有同步副本" no-survivor switches u1 1 switches u2 1
  fault kill site a,b
  recover at c as ann
  wait store led 30s
  switch u1 to c mode emergency as ann at c
  wait switch u1 accepting 10s
  accept u1 as ann at c because "both sites of the city are gone"
  accept u1 as bob at c because "confirmed by the duty manager"
  switch u2 to c mode emergency as ann at c
  wait switch u2 accepting 10s
  accept u2 as ann at c because "both sites of the city are gone"
  accept u2 as bob at c because "confirmed by the duty manager"
  wait u1 at c 20s
  wait u2 at c 20s
  verify u1 as ann at c
  verify u2 as ann at c
  pass 2s # every account is judged: open, or credit-only where it lost something
  release u1 as ann at c
  release u2 as ann at c
  wait gap closed 20s
  pass 2s
end
# Its switches were runs of plans too.
evidence at c
check
