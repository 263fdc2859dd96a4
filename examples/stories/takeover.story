# Forty planned switches of one unit, there and back, under load.
estate two-city
start
load rate 250
wait load steady 30s
repeat 20
  step "there" takeover units u1 switches u1 1 switches u2 0
    switch u1 to b
    wait u1 at b in-sync 60s
    wait gap closed 10s
  end
  step "back" switch-back units u1 switches u1 1 switches u2 0
    switch u1 to a mode switch-back
    wait u1 at a in-sync 60s
    wait gap closed 10s
  end
end
check
