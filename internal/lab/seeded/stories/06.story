# The control plane does not hear the owner, though it serves its site and streams to its copy. People decide for the copy. Replay there
# stands still, so that it cannot be promoted at once, its server dies half-way, and is started again. From the moment it says that it is
# severed nothing more of the old owner may get there: the old owner must not acknowledge any more.
estate one-unit
start
load rate 30 accounts 400 via a
wait load steady 30s
step "the decided copy dies half-way" failover switches u1 1
  fault freeze startup of u1-b
  fault kill process node-a
  fault cut a both ports node
  fault cut a both ports agent
  pass 1500ms
  switch u1 to b mode emergency as ann
  pass 1s
  fault crash database u1-b
  wait u1 at b 20s
  heal
  wait gap closed 20s
end
check
