"""tcpserver"""
