start
estate two-city
estat two-city
load rate 300
start
start
  load rate none
step "one" takeovr
  switch u1 b
  step "two" drill
  end
end
step "one" drill units u1, u2
end
fault cut a-a
fault cut a>
fault kill the-site a
wait u1 at b
switch u1 to b refused
accept u1 as ann refused " "
